/** Where outgoing connections that clients ask for may go (P-08, M-H7): not to private, loopback or link-local addresses. */
import { lookup } from 'node:dns'
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

export interface EgressPolicy {
  /** `undefined` = may be called, as far as can be told without resolving its host. */
  fault(url: URL): string | undefined
  /** Resolves names for a connection, and fails with `Rejected IP` when one leads to a private address. */
  readonly lookup: LookupFunction
}

/** @param allowPrivate  the operator lets clients name private addresses and plain http. */
export function createEgressPolicy({ allowPrivate }: { readonly allowPrivate: boolean }): EgressPolicy {
  return {
    fault(url) {
      if (url.protocol !== 'http:' && url.protocol !== 'https:') return 'scheme must be http or https'
      if (allowPrivate) return undefined
      const host = url.hostname.replace(/^\[|\]$/g, '')
      if (isIP(host) !== 0 && !isPublicAddress(host)) return 'Rejected IP'
      if (host === 'localhost' || host.endsWith('.localhost')) return 'Rejected IP'
      return undefined
    },
    lookup(hostname, options, callback) {
      lookup(hostname, { ...options, all: true }, (error, addresses) => {
        if (error !== null) return callback(error, '', 0)
        const allowed = allowPrivate ? addresses : addresses.filter(({ address }) => isPublicAddress(address))
        const first = allowed[0]
        if (first === undefined) return callback(Object.assign(new Error('Rejected IP'), { code: 'EACCES' }), '', 0)
        if (options.all === true) return callback(null, allowed)
        callback(null, first.address, first.family)
      })
    },
  }
}
