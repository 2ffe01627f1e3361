/** Where outgoing connections that clients ask for may go (P-08, M-H7): not to private, loopback or link-local addresses. */
import { type LookupAddress, type LookupOptions, lookup } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'

const refused = new BlockList()
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const) {
  refused.addSubnet(network, prefix, 'ipv4')
}
for (const [network, prefix] of [
  ['::', 128],
  ['::1', 128],
  ['64:ff9b::', 96],
  ['100::', 64],
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['fc00::', 7],
  ['fe80::', 10],
  ['ff00::', 8],
] as const) {
  refused.addSubnet(network, prefix, 'ipv6')
}

/** Whether an address is public. IPv4 addresses inside IPv6 ones count as what they are. */
export function isPublicAddress(address: string): boolean {
  const mapped = /^::(?:ffff:)?(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined) return isPublicAddress(mapped)
  const family = isIP(address)
  return family !== 0 && !refused.check(address, family === 4 ? 'ipv4' : 'ipv6')
}

/** Networks in which private addresses may be called: `any`, or addresses and networks such as `10.1.0.0/16`. */
export type AllowedNetworks = 'any' | readonly string[]

/** `any`, or networks separated by commas, as Meilisearch's option; `none` is an empty list. `undefined`: not a list of networks. */
export function parseNetworks(text: string): AllowedNetworks | undefined {
  const parts = text.split(',').map((part) => part.trim())
  if (text.trim() === 'none') return []
  if (!parts.every((part) => part === 'any' || isNetwork(part))) return undefined
  return parts.includes('any') ? 'any' : parts
}

/** As `parseNetworks` reads it. */
export function networksText(networks: AllowedNetworks): string {
  return networks === 'any' ? networks : networks.length === 0 ? 'none' : networks.join(',')
}

function isNetwork(text: string): boolean {
  const [address = '', prefix, ...rest] = text.split('/')
  const family = isIP(address)
  if (family === 0 || rest.length > 0 || address.includes('%')) return false
  if (prefix === undefined) return true
  const bits = Number(prefix)
  if (!/^\d{1,3}$/.test(prefix) || bits > (family === 4 ? 32 : 128)) return false
  // An address that is not the beginning of its network is a slip of the pen, as in Meilisearch.
  const digits = family === 4 ? v4Digits(address) : v6Digits(address)
  return BigInt(`0x${digits}`) % (1n << BigInt(digits.length * 4 - bits)) === 0n
}

const v4Digits = (address: string): string =>
  address
    .split('.')
    .map((byte) => Number(byte).toString(16).padStart(2, '0'))
    .join('')

function v6Digits(address: string): string {
  // The form in which a URL has it: lower case, no IPv4 part.
  const [head = '', tail] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split('::')
  const groups = (text: string) => (text === '' ? [] : text.split(':')).map((group) => group.padStart(4, '0'))
  const front = groups(head)
  const back = groups(tail ?? '')
  return [...front, ...Array.from({ length: 8 - front.length - back.length }, () => '0000'), ...back].join('')
}

export interface EgressPolicy {
  /** `undefined` = may be called, as far as can be told without resolving its host. */
  fault(url: URL): string | undefined
  /**
   * Resolves names for a connection, which then goes to an address that was checked and to no other, so that a name cannot
   * mean something else a moment later. Fails with `Rejected IP` when no address may be called.
   */
  readonly lookup: LookupFunction
}

type Resolve = (
  hostname: string,
  options: LookupOptions & { all: true },
  done: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void

/**
 * @param allowed  private addresses that clients may name.
 * @param httpsOnly  plain http is refused. Default false, as in Meilisearch.
 * @param resolve  default: the system's resolver.
 */
export function createEgressPolicy({
  allowed,
  httpsOnly = false,
  resolve = lookup,
}: {
  readonly allowed: AllowedNetworks
  readonly httpsOnly?: boolean
  readonly resolve?: Resolve
}): EgressPolicy {
  const networks = new BlockList()
  if (allowed !== 'any') {
    for (const network of allowed) {
      const [address = '', prefix] = network.split('/')
      const isV4 = isIP(address) === 4
      networks.addSubnet(address, Number(prefix ?? (isV4 ? 32 : 128)), isV4 ? 'ipv4' : 'ipv6')
    }
  }
  const mayCall = (address: string) =>
    allowed === 'any' || isPublicAddress(address) || networks.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6')
  return {
    fault(url) {
      if (url.protocol !== 'https:' && (httpsOnly || url.protocol !== 'http:')) {
        return httpsOnly ? 'scheme must be https' : 'scheme must be http or https'
      }
      const host = url.hostname.replace(/^\[|\]$/g, '')
      if (isIP(host) !== 0) return mayCall(host) ? undefined : 'Rejected IP'
      const isLocal = host === 'localhost' || host.endsWith('.localhost') || host === 'localhost.'
      return isLocal && !mayCall('127.0.0.1') && !mayCall('::1') ? 'Rejected IP' : undefined
    },
    lookup(hostname, options, callback) {
      resolve(hostname, { ...options, all: true }, (error, addresses) => {
        if (error !== null) return callback(error, '', 0)
        const usable = addresses.filter(({ address }) => mayCall(address))
        const first = usable[0]
        if (first === undefined) return callback(Object.assign(new Error('Rejected IP'), { code: 'EACCES' }), '', 0)
        if (options.all === true) return callback(null, usable)
        callback(null, first.address, first.family)
      })
    },
  }
}
