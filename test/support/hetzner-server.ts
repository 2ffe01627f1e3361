/**
 * A stand-in of the API of Hetzner Cloud: servers with labels, unique names, actions, pages, and its forms of refusal. An
 * order may find no room in a location, and an answer may be lost behind the act.
 */
import { createServer } from 'node:http'
import { isObject, type Json, type JsonObject } from '../../src/lib/json.ts'

export interface HetznerServer {
  readonly apiUrl: string
  readonly token: string
  /** What is there and paid for. */
  servers(): readonly JsonObject[]
  /** Actions that were asked for, as `<id> <action>`. */
  readonly actions: readonly string[]
  /** Locations without room. */
  readonly full: Set<string>
  breakNext(): void
  refuse(status: number | null): void
  close(): Promise<void>
}

const token = 'hetzner-token-of-the-stand-in'

export interface HetznerStage {
  /** Private address of a server. Default 10.0.0.<id>. */
  readonly addressOf?: (id: number) => string
  /** A server starts for the first time. */
  readonly onMade?: (server: JsonObject, address: string) => void
  readonly onGone?: (id: number) => void
}

export async function startHetzner(stage: HetznerStage = {}): Promise<HetznerServer> {
  const addressOf = stage.addressOf ?? ((id: number) => `10.0.0.${id}`)
  const servers = new Map<number, { [name: string]: Json }>()
  const actions: string[] = []
  const full = new Set<string>()
  let next = 41
  let mustBreak = false
  let refusal: number | null = null
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const url = new URL(request.url ?? '/', 'http://here')
      const text = Buffer.concat(chunks).toString('utf8')
      const sent = text === '' ? {} : (JSON.parse(text) as Json)
      const { status, body } =
        request.headers.authorization !== `Bearer ${token}`
          ? failure(401, 'unauthorized')
          : refusal !== null
            ? failure(refusal, `rate_limit_exceeded of ${request.headers.authorization}`)
            : act(request.method ?? 'GET', url, isObject(sent) ? sent : {})
      if (mustBreak && request.method !== 'GET') {
        mustBreak = false
        request.socket.destroy()
        return
      }
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
  })

  function act(method: string, url: URL, sent: JsonObject): { status: number; body: JsonObject } {
    const [, , kind, idText, , action] = url.pathname.split('/')
    const id = Number(idText)
    const known = servers.get(id)
    switch (`${method} ${kind}${idText === undefined ? '' : '/id'}${action === undefined ? '' : '/action'}`) {
      case 'GET servers':
        return page(url, [...servers.values()])
      case 'POST servers':
        return order(sent)
      case 'GET servers/id':
        return known === undefined ? failure(404, 'not_found') : { status: 200, body: { server: known } }
      case 'DELETE servers/id':
        stage.onGone?.(id)
        return servers.delete(id) ? { status: 200, body: { action: { status: 'running' } } } : failure(404, 'not_found')
      case 'POST servers/id/action': {
        if (known === undefined || action === undefined) return failure(404, 'not_found')
        actions.push(`${id} ${action}`)
        servers.set(id, { ...known, status: action === 'shutdown' ? 'off' : 'running' })
        return { status: 201, body: { action: { command: action, status: 'running' } } }
      }
      case 'GET server_types':
        return { status: 200, body: { server_types: [{ name: 'cx22' }] } }
      case 'GET images':
        return {
          status: 200,
          body: { images: url.searchParams.get('name') === 'debian-12' ? [{ name: 'debian-12' }] : [] },
        }
      case 'GET locations':
        return { status: 200, body: { locations: [{ name: url.searchParams.get('name') }] } }
      case 'GET networks/id':
        return { status: 200, body: { network: { id } } }
      default:
        return failure(404, 'not_found')
    }
  }

  function order(sent: JsonObject): { status: number; body: JsonObject } {
    if (full.has(String(sent.location))) return failure(412, 'resource_unavailable')
    if ([...servers.values()].some(({ name }) => name === sent.name)) return failure(409, 'uniqueness_error')
    const id = next
    next += 1
    servers.set(id, {
      ...{ id, name: sent.name ?? '', status: 'running', labels: sent.labels ?? {}, location: sent.location ?? '' },
      ...{ user_data: sent.user_data ?? '', public_net: { ipv4: { ip: `203.0.113.${id}` } } },
      private_net: sent.networks === undefined ? [] : [{ ip: addressOf(id) }],
    })
    stage.onMade?.(servers.get(id) ?? {}, addressOf(id))
    return { status: 201, body: { server: servers.get(id) ?? {}, action: { status: 'running' } } }
  }

  /** Two on a page, so that further ones are asked for. */
  function page(url: URL, all: readonly JsonObject[]): { status: number; body: JsonObject } {
    const wanted = (url.searchParams.get('label_selector') ?? '').split(',').filter((part) => part !== '')
    const fitting = all.filter(({ labels }) =>
      wanted.every(
        (part) => isObject(labels) && labels[part.slice(0, part.indexOf('='))] === part.slice(part.indexOf('=') + 1),
      ),
    )
    const number = Number(url.searchParams.get('page') ?? 1)
    const hasMore = fitting.length > number * 2
    const pagination = { page: number, per_page: 2, next_page: hasMore ? number + 1 : null }
    return { status: 200, body: { servers: fitting.slice((number - 1) * 2, number * 2), meta: { pagination } } }
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the stand-in has no port')
  return {
    apiUrl: `http://127.0.0.1:${address.port}/v1`,
    token,
    servers: () => [...servers.values()],
    actions,
    full,
    breakNext() {
      mustBreak = true
    },
    refuse(status) {
      refusal = status
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function failure(status: number, code: string): { status: number; body: JsonObject } {
  return { status, body: { error: { code, message: `the stand-in says ${code}` } } }
}
