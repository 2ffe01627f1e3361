/** What one configuration field accepts. A decoder answers the value, or a sentence that says what was expected. */
import { isDailyWindow } from '../lib/daily-window.ts'
import { type AllowedNetworks, parseNetworks } from '../lib/egress-policy.ts'
import { Secret } from './secret.ts'

export type Decoded<T> = { readonly value: T } | { readonly expected: string }

export interface Decoder<T> {
  /** Type and range as people read them, for `docs/config.md` and for refusals. */
  readonly accepts: string
  /** `raw` is a YAML scalar, or the text of a flag or variable. */
  decode(raw: unknown): Decoded<T>
}

export interface Field<T> {
  readonly decoder: Decoder<T>
  readonly initial: T
  /** The default as the documentation prints it. */
  readonly initialText: string
  /** First one that is set wins. */
  readonly env: readonly string[]
  /** Long option of the command line, without dashes. */
  readonly flag?: string
  /** Whole sentences: what it does and, where it is not plain, why one would change it. */
  readonly about: string
}

export function field<T>(
  decoder: Decoder<T>,
  initial: T,
  rest: {
    readonly env?: readonly string[]
    readonly flag?: string
    readonly about: string
    readonly initialText?: string
  },
): Field<T> {
  const { env = [], initialText = initial === null ? 'none' : String(initial), ...others } = rest
  return { decoder, initial, env, initialText, ...others }
}

function decoder<T>(accepts: string, parse: (raw: unknown) => T | undefined): Decoder<T> {
  return {
    accepts,
    decode: (raw) => {
      const value = parse(raw)
      return value === undefined ? { expected: accepts } : { value }
    },
  }
}

export const text: Decoder<string> = decoder('text', (raw) =>
  typeof raw === 'string' && raw.length > 0 ? raw : undefined,
)

export const secret: Decoder<Secret> = decoder('text (secret)', (raw) =>
  typeof raw === 'string' && raw.length > 0 ? new Secret(raw) : undefined,
)

export const flagValue: Decoder<boolean> = decoder('true or false', (raw) => {
  if (typeof raw === 'boolean') return raw
  if (raw === 'true' || raw === '1') return true
  return raw === 'false' || raw === '0' || raw === '' ? false : undefined
})

export function integer(min: number, max: number): Decoder<number> {
  return decoder(`whole number from ${min} to ${max}`, (raw) => {
    const value =
      typeof raw === 'number' ? raw : typeof raw === 'string' && /^-?\d+$/.test(raw) ? Number(raw) : Number.NaN
    return Number.isInteger(value) && value >= min && value <= max ? value : undefined
  })
}

/** Fractions are allowed. */
export function decimal(min: number, max: number): Decoder<number> {
  return decoder(`number from ${min} to ${max}`, (raw) => {
    const value =
      typeof raw === 'number' ? raw : typeof raw === 'string' && /^\d+(\.\d+)?$/.test(raw) ? Number(raw) : Number.NaN
    return value >= min && value <= max ? value : undefined
  })
}

export function choice<const T extends string>(...values: readonly T[]): Decoder<T> {
  return decoder(values.map((value) => `\`${value}\``).join(', '), (raw) =>
    typeof raw === 'string' ? values.find((value) => value === raw.toLowerCase()) : undefined,
  )
}

const byteUnits: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
}

/** `100 MB` is decimal and `100 MiB` binary, as in Meilisearch. */
export function byteCount(min: number, max: number): Decoder<number> {
  return decoder(`bytes, such as \`100 MB\` or \`256 MiB\`, from ${min} to ${max}`, (raw) => {
    const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(String(raw).trim())
    const unit = match && byteUnits[match[2]!.toLowerCase()]
    if (!match || unit === undefined || unit === null) return undefined
    const value = Math.round(Number(match[1]) * unit)
    return value >= min && value <= max ? value : undefined
  })
}

const timeUnits: Readonly<Record<string, number>> = { '': 1, ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Milliseconds; text may carry a unit. */
export function duration(minMs: number, maxMs: number): Decoder<number> {
  return decoder(`milliseconds, or such as \`10s\`, from ${minMs} to ${maxMs}`, (raw) => {
    const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(String(raw).trim())
    const unit = match && timeUnits[match[2]!.toLowerCase()]
    if (!match || unit === undefined || unit === null) return undefined
    const value = Math.round(Number(match[1]) * unit)
    return value >= minMs && value <= maxMs ? value : undefined
  })
}

/** A folder, or a bucket with a prefix. */
export const placeOfObjects: Decoder<string> = decoder('a folder, or `s3://bucket/prefix`', (raw) => {
  if (typeof raw !== 'string' || raw === '') return undefined
  const isBucket = /^s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:\/[\w.-]+)*\/?$/.test(raw)
  return isBucket || !raw.includes('://') ? raw : undefined
})

export interface SocketAddress {
  readonly host: string
  /** 0 = any free port. */
  readonly port: number
}

/** `host:port`; an IPv6 host stands in brackets. */
export const socketAddress: Decoder<SocketAddress> = decoder('`host:port`', (raw) => {
  const match = typeof raw === 'string' ? /^(\[[0-9a-f:.]+\]|[^:[\]\s/]+):(\d{1,5})$/i.exec(raw) : null
  const port = Number(match?.[2])
  if (!match || port > 65_535) return undefined
  return { host: match[1]!.replace(/^\[|\]$/g, ''), port }
})

export function url(...protocols: readonly string[]): Decoder<string> {
  return decoder(`URL (${protocols.map((protocol) => `\`${protocol}//\``).join(', ')})`, (raw) => {
    if (typeof raw !== 'string' || !URL.canParse(raw)) return undefined
    return protocols.includes(new URL(raw).protocol) ? raw.replace(/\/+$/, '') : undefined
  })
}

export function list<const T extends string>(...values: readonly T[]): Decoder<readonly T[]> {
  return decoder(`one or more of ${values.map((value) => `\`${value}\``).join(', ')}`, (raw) => {
    const parts = Array.isArray(raw) ? raw.map(String) : typeof raw === 'string' ? raw.split(/[\s,]+/) : []
    const found = parts.filter((part) => part !== '').map((part) => values.find((value) => value === part))
    return found.length > 0 && found.every((value) => value !== undefined) ? [...new Set(found)] : undefined
  })
}

export const networks: Decoder<AllowedNetworks> = decoder(
  '`any`, `none`, or addresses and networks separated by commas, such as `10.1.0.0/16,::1`',
  (raw) => {
    const texts: readonly unknown[] = Array.isArray(raw) ? raw : [raw]
    return texts.length === 0 ? [] : parseNetworks(texts.map(String).join(','))
  },
)

export const dailyWindows: Decoder<readonly string[]> = decoder(
  'times of day in UTC separated by commas, such as `22:00-06:00`',
  (raw) => {
    const texts = Array.isArray(raw) ? raw.map(String) : typeof raw === 'string' ? raw.split(',') : undefined
    const windows = texts?.map((window) => window.trim()).filter((window) => window !== '')
    return windows?.every(isDailyWindow) === true ? windows : undefined
  },
)

/** Also accepts that nothing is set, which is the default of such a field. */
export function optional<T>(inner: Decoder<T>): Decoder<T | null> {
  return { accepts: inner.accepts, decode: (raw) => (raw === null ? { value: null } : inner.decode(raw)) }
}
