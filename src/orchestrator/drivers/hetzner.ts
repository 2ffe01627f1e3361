/** Servers of Hetzner Cloud, through its API v1 (docs.hetzner.cloud). */
import { isObject, type JsonObject } from '../../lib/json.ts'
import type { CloudProvider, CloudServer, NewServer } from './cloud-driver.ts'
import { DriverFailed, type DriverFinding, type MachineState } from './node-driver.ts'
import { callProvider, listAt, objectAt, type ProviderAnswer, textAt } from './provider-call.ts'

export interface HetznerOptions {
  /** Default of the configuration: https://api.hetzner.cloud/v1 */
  readonly apiUrl: string
  readonly token: string
  readonly serverType: string
  readonly image: string
  /** Tried in this order. */
  readonly locations: readonly string[]
  /** Private network of the servers; null = they have public addresses alone. */
  readonly networkId: number | null
  readonly firewallIds: readonly number[]
  readonly sshKeys: readonly string[]
}

/** Labels of servers. */
const labelNames = { fleet: 'flapjack-fleet', node: 'flapjack-node', generation: 'flapjack-generation' } as const

const states: Readonly<Record<string, MachineState>> = {
  running: 'running',
  initializing: 'starting',
  starting: 'starting',
  rebuilding: 'starting',
  migrating: 'starting',
  stopping: 'stopped',
  off: 'stopped',
  deleting: 'absent',
}

/** Another location may have what this one has not. */
const placeCodes = new Set(['resource_unavailable', 'placement_error', 'unsupported_error'])
const perPage = 50
const pagesMax = 100

export function createHetzner(options: HetznerOptions): CloudProvider {
  const { apiUrl, token, serverType, image, locations, networkId, firewallIds, sshKeys } = options
  const call = (
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    signal: AbortSignal,
    body?: JsonObject,
    secrets: readonly string[] = [],
  ) =>
    callProvider({ method, url: `${apiUrl}${path}`, token, signal, secrets, ...(body === undefined ? {} : { body }) })

  async function demand(what: string, answer: Promise<ProviderAnswer>): Promise<JsonObject> {
    const { status, body, message } = await answer
    if (status >= 200 && status < 300) return body
    throw new DriverFailed(`${what}: Hetzner answers ${status}: ${message}`)
  }

  async function act(id: string, action: string, signal: AbortSignal): Promise<void> {
    await demand(`server ${id}, ${action}`, call('POST', `/servers/${id}/actions/${action}`, signal, {}))
  }

  function order(server: NewServer, location: string): JsonObject {
    return {
      name: server.name,
      server_type: serverType,
      image,
      location,
      start_after_create: true,
      user_data: server.userData,
      labels: {
        [labelNames.fleet]: server.fleet,
        [labelNames.node]: server.node,
        [labelNames.generation]: String(server.generation),
      },
      ssh_keys: [...sshKeys],
      ...(networkId === null ? {} : { networks: [networkId] }),
      ...(firewallIds.length === 0 ? {} : { firewalls: firewallIds.map((firewall) => ({ firewall })) }),
    }
  }

  return {
    kind: 'hetzner',
    async create(server, signal) {
      const refusals: string[] = []
      for (const location of locations) {
        const { status, body, message } = await call(
          'POST',
          '/servers',
          signal,
          order(server, location),
          server.secrets,
        )
        if (status >= 200 && status < 300) return 'made'
        const code = textAt(objectAt(body, 'error'), 'code') ?? ''
        if (code === 'uniqueness_error') return 'taken'
        refusals.push(`${location}: ${message}`)
        if (!placeCodes.has(code)) break
      }
      throw new DriverFailed(`no server was made. ${refusals.join('; ')}`)
    },
    async list(fleet, node, signal) {
      const selector = [`${labelNames.fleet}=${fleet}`, ...(node === null ? [] : [`${labelNames.node}=${node}`])].join(
        ',',
      )
      const found: CloudServer[] = []
      for (let page = 1; page <= pagesMax; page += 1) {
        const path = `/servers?label_selector=${encodeURIComponent(selector)}&per_page=${perPage}&page=${page}`
        const body = await demand('servers were not listed', call('GET', path, signal))
        found.push(...listAt(body, 'servers').map(readServer))
        if (typeof objectAt(objectAt(body, 'meta'), 'pagination').next_page !== 'number') break
      }
      return found.filter(({ state }) => state !== 'absent')
    },
    start: (id, signal) => act(id, 'poweron', signal),
    // The file systems of a server are journalled, and what counts is in our own journal.
    stop: (id, signal) => act(id, 'shutdown', signal),
    reset: (id, signal) => act(id, 'reset', signal),
    async destroy(id, signal) {
      const { status, message } = await call('DELETE', `/servers/${id}`, signal)
      if (status === 404 || (status >= 200 && status < 300)) return
      throw new DriverFailed(`server ${id} was not deleted: Hetzner answers ${status}: ${message}`)
    },
    async check(signal) {
      const findings: DriverFinding[] = []
      const look = async (what: string, path: string, key: string, advice: string) => {
        const { status, body, message } = await call('GET', path, signal)
        const isThere = status === 200 && (key === '' || listAt(body, key).length > 0 || isObject(body[key]))
        const text = isThere ? 'is there' : status === 200 ? advice : `Hetzner answers ${status}: ${message}; ${advice}`
        findings.push({ what, isGood: isThere, text })
      }
      await look('token', '/servers?per_page=1', '', 'give a token with read and write rights as `fleet.hetzner.token`')
      const named = encodeURIComponent(serverType)
      await look(
        'server type',
        `/server_types?name=${named}`,
        'server_types',
        `there is no server type \`${serverType}\``,
      )
      await look('image', `/images?name=${encodeURIComponent(image)}`, 'images', `there is no image \`${image}\``)
      for (const location of locations) {
        const path = `/locations?name=${encodeURIComponent(location)}`
        await look(`location ${location}`, path, 'locations', `there is no location \`${location}\``)
      }
      if (networkId !== null) {
        await look('network', `/networks/${networkId}`, 'network', `there is no network ${networkId}`)
      }
      return findings
    },
  }
}

function readServer(server: JsonObject): CloudServer {
  const labels = objectAt(server, 'labels')
  const [net] = listAt(server, 'private_net')
  const publicNet = objectAt(server, 'public_net')
  const address = (net && textAt(net, 'ip')) ?? textAt(objectAt(publicNet, 'ipv4'), 'ip')
  return {
    id: String(server.id),
    fleet: textAt(labels, labelNames.fleet) ?? '',
    node: textAt(labels, labelNames.node) ?? '',
    generation: Number(textAt(labels, labelNames.generation) ?? 1),
    state: states[textAt(server, 'status') ?? ''] ?? 'failed',
    address,
  }
}
