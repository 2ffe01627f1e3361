/**
 * A listener for operators, apart from the public one: metrics in Prometheus' format, whether this program lives and is ready,
 * and, with the operator's token, the inner state of its gateways (P-23).
 */
import { timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { errorBody } from '../api/errors.ts'
import type { FleetOrders } from '../control/fleet-orders.ts'
import type { MoveOrders } from '../control/move-orders.ts'
import type { ReshardOrders } from '../control/reshard-orders.ts'
import { assert } from '../lib/assert.ts'
import type { Json } from '../lib/json.ts'
import { tokenDigest } from '../lib/token-digest.ts'
import { answerCluster, type ClusterRoutes } from './cluster-routes.ts'
import { answerFleet } from './fleet-routes.ts'
import type { AdminCommand, AdminReply } from './gateway-admin.ts'
import { answerMoves } from './move-routes.ts'
import { answerReshards } from './reshard-routes.ts'

export interface OperatorServer {
  readonly url: string
  close(): Promise<void>
}

export interface OperatorOptions {
  readonly host: string
  /** 0 = any free one. */
  readonly port: number
  /** Text of all metrics of this program's processes. */
  readonly readMetrics: () => Promise<string>
  /** Of `/internal/…` and `/_miroir/…`; null = nobody may ask. */
  readonly token: string | null
  readonly cluster: ClusterRoutes
  readonly moves: MoveOrders
  readonly reshards: ReshardOrders
  readonly fleet: FleetOrders
  /** Replies of all gateways of this program, in no particular order. */
  readonly ask: (command: AdminCommand) => Promise<readonly AdminReply[]>
}

const bodyBytesMax = 64 * 1024

export async function startOperatorServer(options: OperatorOptions): Promise<OperatorServer> {
  const { host, port } = options
  const server = createServer((request, response) => {
    answer(request, response, options).catch(() => {
      if (!response.headersSent) response.writeHead(500)
      response.end()
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  const address = server.address()
  assert(address !== null && typeof address === 'object', 'a TCP server has an address')
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function answer(request: IncomingMessage, response: ServerResponse, options: OperatorOptions): Promise<void> {
  const { method = 'GET' } = request
  const url = new URL(request.url ?? '/', 'http://operator')
  if (url.pathname.startsWith('/internal/')) return answerInternal(request, response, url, options)
  const open = openTwins[`${method} ${url.pathname}`]
  if (open !== undefined) url.pathname = open
  else if (url.pathname.startsWith('/_miroir/')) return answerMiroir(request, response, url, options)
  if (method !== 'GET') return void response.writeHead(405, { allow: 'GET' }).end()
  switch (url.pathname) {
    case '/health':
      return void response.end('{"status":"available"}')
    case '/ready':
      return sendReplies(response, await options.ask({ kind: 'ready' }))
    case '/metrics': {
      const text = await options.readMetrics()
      return void response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }).end(text)
    }
    default:
      response.writeHead(404).end()
  }
}

/** Names of the cluster layer for what asks for no token. */
const openTwins: Readonly<Record<string, string>> = {
  'GET /_miroir/ready': '/ready',
  'GET /_miroir/metrics': '/metrics',
}

async function answerMiroir(
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  { token, ask, cluster, moves, reshards }: OperatorOptions,
): Promise<void> {
  const send = (reply: AdminReply) => sendReply(response, reply)
  const key = request.headers['x-admin-key']
  if (!mayAsk(token, typeof key === 'string' ? key : bearerOf(request))) {
    response.setHeader('connection', 'close')
    return send({
      status: 401,
      body: { ...errorBody('miroir_invalid_auth', "The operator's token is missing or wrong.") },
    })
  }
  const { method = 'GET' } = request
  const asked = { method, url, body: () => readBody(request) }
  send((await answerReshards(asked, { reshards, moves })) ?? (await answerCluster(asked, { routes: cluster, ask })))
}

function bearerOf(request: IncomingMessage): string | undefined {
  return /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1]
}

function mayAsk(token: string | null, sent: string | undefined): boolean {
  return token !== null && sent !== undefined && timingSafeEqual(tokenDigest(sent), tokenDigest(token))
}

async function answerInternal(
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  { token, ask, moves, fleet }: OperatorOptions,
): Promise<void> {
  if (!mayAsk(token, bearerOf(request))) {
    return void response.writeHead(401, { connection: 'close' }).end()
  }
  const { method = 'GET' } = request
  const asked = { method, url, body: () => readBody(request) }
  const answered = (await answerMoves(asked, moves)) ?? (await answerFleet(asked, fleet))
  if (answered !== undefined) return sendReply(response, answered)
  const route = `${request.method} ${url.pathname}`
  const command = await commandOf(route, url, request)
  if (command === 'bad-body') {
    return sendReplies(response, [{ status: 400, body: { message: 'The body is not JSON, or too long.' } }])
  }
  if (command === undefined) return void response.writeHead(404).end()
  sendReplies(response, await ask(command))
}

async function commandOf(
  route: string,
  url: URL,
  request: IncomingMessage,
): Promise<AdminCommand | 'bad-body' | undefined> {
  switch (route) {
    case 'GET /internal/state':
      return { kind: 'state' }
    case 'GET /internal/routes':
      return { kind: 'routes', project: url.searchParams.get('project') ?? '' }
    case 'GET /internal/cache':
      return { kind: 'cache' }
    case 'POST /internal/resync':
      return { kind: 'resync' }
    case 'POST /internal/drain':
      return { kind: 'drain', isOn: true }
    case 'DELETE /internal/drain':
      return { kind: 'drain', isOn: false }
    case 'PUT /internal/routes': {
      const body = await readBody(request)
      return body === undefined ? 'bad-body' : { kind: 'place', body }
    }
    default:
      return undefined
  }
}

async function readBody(request: IncomingMessage): Promise<Json | undefined> {
  const chunks: Buffer[] = []
  let byteCount = 0
  for await (const chunk of request) {
    byteCount += chunk.length
    if (byteCount > bodyBytesMax) return undefined
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString()) as Json
  } catch {
    return undefined
  }
}

function sendReply(response: ServerResponse, { status, body }: AdminReply): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** The worst status of all, and each gateway's own answer. */
function sendReplies(response: ServerResponse, replies: readonly AdminReply[]): void {
  const status = Math.max(200, ...replies.map((reply) => reply.status))
  const gateways = replies.map(({ body }) => body)
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ gateways }))
}
