/** What belongs to the project as a whole: health, version, flags, dumps, snapshots, exports (M-A2, P-14). */
import { byteSizeText } from '../api/byte-size.ts'
import { isDocumentId } from '../api/document-id.ts'
import { ApiError } from '../api/errors.ts'
import { decodeExport, exportRules } from '../api/export-body.ts'
import { completeFeatures, decodeFeatures, type Feature } from '../api/features.ts'
import { parseJsonBody } from '../api/json-text.ts'
import { applyNetwork, decodeNetwork, renderNetwork } from '../api/network-body.ts'
import { decodeRenderQuery } from '../api/render-query.ts'
import { authoriseIndex } from '../control/principal.ts'
import { type RenderedIndex, runRenderTemplate } from '../embedded/render-template.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import type { Node } from '../store/catalogue.ts'
import { nodeForFlags } from '../topology/read-access.ts'
import { askOnce, askRead, jsonRequest } from '../upstream/ask.ts'
import type { NodeRequest } from '../upstream/connection-pool.ts'
import { json } from './answer.ts'
import { append } from './append.ts'
import type { Call, Handler } from './exchange.ts'
import { documentsOf } from './index-documents.ts'
import { NameMap } from './name-map.ts'
import { connectTo, readPlacement } from './placement-choice.ts'
import { badAnswer, engineError, failureError, heldBytesMax, readErrorBody } from './relay.ts'
import { checkJsonType, readBody, readJson } from './request-body.ts'

/** `GET /version`. Which build answers is the operator's business. */
export const readVersion: Handler = async ({ parts }) =>
  json(200, { commitSha: 'unknown', commitDate: 'unknown', pkgVersion: parts.version })

/** `GET /experimental-features`. */
export const readFeatures: Handler = async ({ principal }) => json(200, completeFeatures(principal.project.features))

/** Flags that an engine must have too, for what it does under them. */
const engineFlags: readonly Feature[] = [
  'containsFilter',
  'editDocumentsByFunction',
  'compositeEmbedders',
  'multimodal',
  'renderRoute',
  'chatCompletions',
]

/** `PATCH /experimental-features`: flags of the project. A flag that is on is switched on at the nodes too, never off. */
export const updateFeatures: Handler = async (call) => {
  const { catalogue, follower, limits } = call.parts
  const change = decodeFeatures(await readJson(call.exchange.request, call.headers, limits.bodyBytesMax))
  const wanted = engineFlags.filter((flag) => change[flag] === true)
  if (wanted.length > 0) await switchOn(call, wanted)
  const project = call.principal.project
  const { features } = await catalogue.setFeatures(project.id, { ...project.features, ...change })
  await follower.refresh()
  return json(200, completeFeatures(features))
}

/** A node that was just added may have no key for it yet. */
const keyWaitMs = 10_000
const keyPauseMs = 50

async function switchOn(call: Call, flags: readonly Feature[]): Promise<void> {
  const { parts, exchange } = call
  const request = jsonRequest('PATCH', '/experimental-features', Object.fromEntries(flags.map((flag) => [flag, true])))
  const deadlineAt = parts.clock.monotonic() + keyWaitMs
  await Promise.all([...exchange.table.nodes()].map((node) => switchOnAt(call, node, request, deadlineAt)))
}

async function switchOnAt(call: Call, node: Node, request: NodeRequest, deadlineAt: number): Promise<void> {
  const { parts, signal } = call
  for (;;) {
    const { follower, pools, clock } = parts
    const connection = pools.connection(nodeForFlags(follower.table, node))
    const outcome = await askOnce(connection, request, { signal, answerBytesMax: heldBytesMax })
    if (outcome.kind !== 'answered') throw failureError(outcome)
    const { status } = outcome.reply
    if (status === 200) return
    const isKeyless = status === 401 || status === 403
    if (!isKeyless || clock.monotonic() > deadlineAt) throw badAnswer(`flags refused with status ${status}`)
    await clock.sleep(keyPauseMs, signal)
    await follower.refresh()
  }
}

/** `POST /dumps`. */
export const createDump: Handler = (call) => append(call, { uid: null, operation: { kind: 'dump' } })

/** `POST /snapshots`. */
export const createSnapshot: Handler = (call) => append(call, { uid: null, operation: { kind: 'snapshot' } })

/** `GET /network`. */
export const readNetwork: Handler = async ({ parts, principal }) =>
  json(200, renderNetwork(await parts.catalogue.network(principal.project.id)))

/** `PATCH /network`: kept for the project, and without any effect: topology belongs to the operator. */
export const updateNetwork: Handler = async (call) => {
  const { catalogue, limits, random } = call.parts
  const sent = decodeNetwork(await readJson(call.exchange.request, call.headers, limits.bodyBytesMax))
  const version = random.uuid()
  const network = await catalogue.changeNetwork(call.principal.project.id, (before) =>
    applyNetwork(before, sent, version),
  )
  return json(200, renderNetwork(network))
}

/** `POST /export`: 200. The worker reads the project and pushes it. */
export const createExport: Handler = async (call) => {
  const sent = await readJson(call.exchange.request, call.headers, call.parts.limits.bodyBytesMax)
  const request = decodeExport(sent)
  const { url, apiKey, payloadSize } = request
  // What is no address at all fails the task, as in the reference; what leads inside is refused at once.
  const fault = URL.canParse(url) ? call.parts.egress.fault(new URL(url)) : undefined
  if (fault !== undefined)
    throw new ApiError('outbound_url_refused', `The address \`${url}\` may not be called: ${fault}.`)
  const operation = {
    kind: 'export',
    url,
    apiKey,
    payloadSize: payloadSize === null ? null : byteSizeText(payloadSize),
    indexes: exportRules(request),
  } as const
  return append(call, { uid: null, operation }, 200)
}

/** That rendering may take here: it runs on the event loop. */
const renderMsMax = 50

/**
 * `POST /render-template` (M-H8): sent to the node of the index that it names, under its name there. Rendered here when it
 * names none, a spread one, or two on different nodes.
 */
export const renderTemplate: Handler = async (call) => {
  const { exchange, parts, principal, signal } = call
  checkJsonType(call.headers)
  const sent = parseJsonBody(await readBody(exchange.request, parts.limits.bodyBytesMax))
  const names = new NameMap(principal.project, exchange.table)
  const body = isObject(sent) ? { ...sent, ...renamed(sent, 'template', names), ...renamed(sent, 'input', names) } : {}
  const named = [namedIndex(sent, 'template'), namedIndex(sent, 'input')].flatMap((uid) => uid ?? [])
  for (const uid of named) authoriseIndex(principal, uid)
  const routes = named.flatMap((uid) => exchange.table.index(principal.project.id, uid) ?? [])
  const nodes = new Set(routes.map((route) => (route.index.spread === null ? readPlacement(route).node : null)))
  if (named.length === 0 || nodes.has(null) || nodes.size > 1) return json(200, await renderHere(call, sent))
  const target = routes[0] ?? exchange.table.indexes(principal.project.id)[0]
  // Without any index the refusal is the one for a name that nothing has.
  if (target === undefined || target.index.spread !== null) return json(200, await renderHere(call, sent))
  const outcome = await askRead(
    () => connectTo(parts.follower.table, parts.pools, readPlacement(target), principal.project.id),
    jsonRequest('POST', '/render-template', body),
    { signal, answerBytesMax: heldBytesMax, clock: parts.clock },
  )
  if (outcome.kind !== 'answered') throw failureError(outcome)
  const { reply } = outcome
  if (reply.status !== 200) throw engineError(reply.status, readErrorBody(reply.body), names, exchange)
  return { kind: 'bytes', status: 200, contentType: 'application/json', body: reply.body }
}

/** @throws ApiError, EngineError */
async function renderHere(call: Call, sent: Json): Promise<JsonObject> {
  const { exchange, parts, principal, signal } = call
  const query = decodeRenderQuery(sent, completeFeatures(principal.project.features))
  const indexes = new Map<string, RenderedIndex>()
  for (const uid of new Set([query.template.indexUid, query.input?.indexUid])) {
    const route = uid == null ? undefined : exchange.table.index(principal.project.id, uid)
    if (route === undefined) continue
    const id = query.input?.indexUid === uid ? (query.input?.id ?? '') : ''
    const [text] = isDocumentId(id) ? await documentsOf(exchange, route, { ids: [id], limit: 1 }, signal) : []
    const { chat = {} } = await parts.spread.settings.folded(route.index)
    indexes.set(route.index.uid, {
      settings: await parts.spread.settings.of(route.index),
      chat: isObject(chat) ? chat : {},
      document: () => (text === undefined ? undefined : (JSON.parse(text) as JsonObject)),
    })
  }
  return runRenderTemplate((uid) => indexes.get(uid), query, renderMsMax)
}

function namedIndex(sent: Json, field: string): string | undefined {
  const part = isObject(sent) ? sent[field] : undefined
  return part !== undefined && isObject(part) && typeof part.indexUid === 'string' ? part.indexUid : undefined
}

function renamed(sent: JsonObject, field: string, names: NameMap): JsonObject {
  const part = sent[field]
  if (part === undefined || !isObject(part) || typeof part.indexUid !== 'string') return {}
  return { [field]: { ...part, indexUid: names.toPhysical(part.indexUid) } }
}
