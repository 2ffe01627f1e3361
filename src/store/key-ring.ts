/**
 * Secrets at rest in two steps (P-26): rows are sealed under data keys, and data keys, in the table `data_keys`, under the
 * sealing key that the operator holds. Every organisation has data keys of its own; what belongs to none stands under the
 * installation's. A new sealing key means that the rows of data keys are sealed anew and nothing else; rows under older data
 * keys stay readable, since a sealed value names its key: opening one needs no look at whose it is.
 *
 * A ring learns its keys from the database; until then nothing can be sealed or opened.
 */
import type { Clock } from '../lib/clock.ts'
import { SealBroken, type SealingKey, sealedUnder, sealingKey } from '../lib/seal.ts'
import type { OrganisationId } from './catalogue.ts'
import { StoreUnavailable } from './ports.ts'
import type { Tables } from './tables.ts'

/** The database's secrets were sealed under another key. Nothing was changed. */
export class WrongSealingKey extends Error {
  override readonly name = 'WrongSealingKey'
}

/** A value names a data key that this process does not know: it may be new. */
export class UnknownDataKey extends StoreUnavailable {}

export type DataKeyRow = Tables['data_keys']
export type Opener = Pick<SealingKey, 'open'>
export type Seal = Pick<SealingKey, 'seal'>

/** As a sealing key it is the installation's data key in use, which opens what stands under any other one too. */
export interface KeyRing extends SealingKey {
  /** Secret bytes for another purpose, of each of the installation's data keys, that of the one in use first. */
  deriveAll(purpose: string): readonly Buffer[]
  /** The data key in use of an organisation; the installation's when the ring has none of it. */
  ofOrganisation(organisation: OrganisationId): Seal
  hasOrganisation(organisation: OrganisationId): boolean
  /** The newest key that was ever loaded; 0 = none. */
  readonly version: number
  /**
   * Takes over the keys of the database: all of the installation, and those of organisations that are new. Keys of
   * organisations are opened when they are first needed.
   * @throws WrongSealingKey when one of the installation stands under none of `masters`.
   */
  load(rows: readonly DataKeyRow[], masters: readonly SealingKey[]): void
}

interface DataKey {
  readonly id: string
  readonly usableFrom: number
  readonly version: number
  readonly key: () => SealingKey
}

export const wrapContext = (id: string) => `data-key:${id}`

/**
 * @param onUnknown  a value names a data key that is not in the ring: the database is worth a look.
 * @param onBroken  a value does not open: what it is, and why.
 */
export function createKeyRing({
  clock,
  onUnknown = () => undefined,
  onBroken = () => undefined,
}: {
  readonly clock: Pick<Clock, 'now'>
  readonly onUnknown?: () => void
  readonly onBroken?: (context: string, error: SealBroken) => void
}): KeyRing {
  const byId = new Map<string, DataKey>()
  /** Each newest first. */
  let installation: readonly DataKey[] = []
  const organisations = new Map<OrganisationId, readonly DataKey[]>()
  let version = 0
  /** Ids that were asked for, and that the database did not have when it was read after that. */
  let absent: ReadonlySet<string> = new Set()
  let asked = new Set<string>()

  const inUse = (keys: readonly DataKey[]) => {
    const nowMs = clock.now()
    return keys.find(({ usableFrom }) => usableFrom <= nowMs) ?? keys.at(-1)
  }
  const active = (): SealingKey => {
    const found = inUse(installation)
    if (found === undefined) throw new StoreUnavailable('the keys of the store are not known yet')
    return found.key()
  }
  const find = (id: string): SealingKey => {
    const found = byId.get(id)
    if (found !== undefined) return found.key()
    if (id.length < 8) throw new SealBroken('not a sealed value')
    if (byId.size === 0) throw new StoreUnavailable('the keys of the store are not known yet')
    if (absent.has(id)) throw new SealBroken('sealed under another key')
    asked.add(id)
    onUnknown()
    throw new UnknownDataKey('a key of the store is not known yet')
  }
  return {
    get id() {
      return active().id
    },
    get version() {
      return version
    },
    seal: (plain, context) => active().seal(plain, context),
    open(sealed, context) {
      try {
        return find(sealedUnder(sealed)).open(sealed, context)
      } catch (error) {
        if (error instanceof SealBroken) onBroken(context, error)
        throw error
      }
    },
    derive: (purpose) => active().derive(purpose),
    deriveAll(purpose) {
      const used = active()
      const others = installation.map(({ key }) => key()).filter((key) => key !== used)
      return [used, ...others].map((key) => key.derive(purpose))
    },
    bytes: () => active().bytes(),
    ofOrganisation: (organisation) => inUse(organisations.get(organisation) ?? [])?.key() ?? active(),
    hasOrganisation: (organisation) => organisations.has(organisation),
    load(rows, masters) {
      const loaded = rows.map((row) => ({ row, key: byId.get(row.id) ?? heldKey(row, masters) }))
      const ofInstallation = loaded.filter(({ row }) => row.organisation_id === null).map(({ key }) => key)
      // A wrong sealing key shows here, not when the first secret is needed.
      for (const { key } of ofInstallation) key()
      for (const { id } of installation) byId.delete(id)
      installation = ofInstallation.sort(newestFirst)
      for (const { row, key } of loaded) {
        byId.set(row.id, key)
        version = Math.max(version, row.version)
        if (row.organisation_id === null) continue
        const others = (organisations.get(row.organisation_id) ?? []).filter(({ id }) => id !== row.id)
        organisations.set(row.organisation_id, [...others, key].sort(newestFirst))
      }
      absent = new Set([...asked].filter((id) => !byId.has(id)))
      asked = new Set(absent)
    },
  }
}

const newestFirst = (a: DataKey, b: DataKey) => b.usableFrom - a.usableFrom || b.version - a.version

function heldKey(row: DataKeyRow, masters: readonly SealingKey[]): DataKey {
  let opened: SealingKey | undefined
  return {
    id: row.id,
    usableFrom: row.usable_from,
    version: row.version,
    key: () => {
      opened ??= unwrapKey(row, masters)
      return opened
    },
  }
}

/**
 * The data key itself. An organisation's row that does not open is a matter of that organisation (`SealBroken`); the
 * installation's, of everybody (`WrongSealingKey`).
 */
export function unwrapKey({ id, wrapped, organisation_id }: DataKeyRow, masters: readonly SealingKey[]): SealingKey {
  try {
    const master = masters.find((candidate) => candidate.id === sealedUnder(wrapped))
    if (master === undefined) throw new SealBroken('a data key is sealed under another key than the configured one')
    return sealingKey(master.open(wrapped, wrapContext(id)))
  } catch (cause) {
    if (!(cause instanceof SealBroken) || organisation_id !== null) throw cause
    throw wrongKey(masters[0], cause)
  }
}

export function wrongKey(configured: Pick<SealingKey, 'id'> | undefined, cause: unknown): WrongSealingKey {
  return new WrongSealingKey(
    `The secrets in this database were sealed under another key than the configured one (${configured?.id}). Put the ` +
      'original key file back.',
    { cause },
  )
}
