/** What belongs to the project as a whole: health, version, flags, dumps, snapshots, exports (M-A2, P-14). */
import {
  bodyRoot,
  boolean,
  type Decoder,
  integer,
  invalidValue,
  object,
  optional,
  orNull,
  record,
  string,
} from '../api/decode.ts'
import { ApiError } from '../api/errors.ts'
import { completeFeatures, decodeFeatures, type Feature } from '../api/features.ts'
import { filterJson } from '../api/filter-value.ts'
import { isIndexPattern, wrongIndexPattern } from '../api/index-uid.ts'
import { parseJsonBody } from '../api/json-text.ts'
import { applyNetwork, decodeNetwork, renderNetwork } from '../api/network-body.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { askOnce, askRead, jsonRequest } from '../upstream/ask.ts'
import { json } from './answer.ts'
import { append } from './append.ts'
import { type Call, type Handler, routeNotAvailable } from './exchange.ts'
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

async function switchOn(call: Call, flags: readonly Feature[]): Promise<void> {
  const { parts, exchange, signal } = call
  const body = Object.fromEntries(flags.map((flag) => [flag, true]))
  for (const node of exchange.table.nodes()) {
    const outcome = await askOnce(parts.pools.connection(node), jsonRequest('PATCH', '/experimental-features', body), {
      signal,
      answerBytesMax: heldBytesMax,
    })
    if (outcome.kind !== 'answered') throw failureError(outcome)
    if (outcome.reply.status !== 200) throw badAnswer(`flags refused with status ${outcome.reply.status}`)
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

interface ExportBody {
  readonly url: string
  readonly apiKey: string | null
  readonly payloadSize: string | number | null
  readonly indexes: Readonly<Record<string, { readonly filter: Json; readonly overrideSettings: boolean }>> | null
}

const payloadSize: Decoder<string | number> = (value, at) => {
  if (typeof value === 'string' && /^\d+(\.\d+)?\s*([kKmMgGtT]?i?[bB])?$/.test(value)) return value
  return integer(value, at)
}

const exportBody = object<ExportBody>({
  url: optional(string, '', 'invalid_export_url'),
  apiKey: orNull(string, 'invalid_export_api_key'),
  payloadSize: orNull(payloadSize, 'invalid_export_payload_size'),
  indexes: orNull(
    record(
      object<{ filter: Json; overrideSettings: boolean }>({
        filter: optional(filterJson, null, 'invalid_export_index_filter'),
        overrideSettings: optional(boolean, false, 'invalid_export_index_override_settings'),
      }),
    ),
    'invalid_export_indexes_patterns',
  ),
})

/** `POST /export`: 200. The worker reads the project and pushes it. */
export const createExport: Handler = async (call) => {
  const sent = await readJson(call.exchange.request, call.headers, call.parts.limits.bodyBytesMax)
  const { url, apiKey, payloadSize: size, indexes } = exportBody(sent, bodyRoot)
  // What is no address at all fails the task, as in the reference; what leads inside is refused at once.
  const fault = URL.canParse(url) ? call.parts.egress.fault(new URL(url)) : undefined
  if (fault !== undefined)
    throw new ApiError('outbound_url_refused', `The address \`${url}\` may not be called: ${fault}.`)
  const patterns = indexes ?? { '*': { filter: null, overrideSettings: false } }
  for (const pattern of Object.keys(patterns)) {
    if (!isIndexPattern(pattern)) {
      throw invalidValue(wrongIndexPattern(pattern), { path: '.indexes', code: 'invalid_export_indexes_patterns' })
    }
  }
  const operation = {
    kind: 'export',
    url,
    apiKey,
    payloadSize: size === null ? null : String(size),
    indexes: toJson(patterns),
  } as const
  return append(call, { uid: null, operation }, 200)
}

function toJson(patterns: NonNullable<ExportBody['indexes']>): JsonObject {
  const entries = Object.entries(patterns).map(([pattern, { filter, overrideSettings }]): [string, JsonObject] => [
    pattern,
    { filter, overrideSettings },
  ])
  return Object.fromEntries(entries)
}

/** `POST /render-template` (M-H8): both names translated, sent to the node of the index that they name. */
export const renderTemplate: Handler = async (call) => {
  const { exchange, parts, principal, signal } = call
  checkJsonType(call.headers)
  const sent = parseJsonBody(await readBody(exchange.request, parts.limits.bodyBytesMax))
  const names = new NameMap(principal.project, exchange.table)
  const body = isObject(sent) ? { ...sent, ...renamed(sent, 'template', names), ...renamed(sent, 'input', names) } : {}
  const uid = namedIndex(sent, 'template') ?? namedIndex(sent, 'input')
  const route = uid === undefined ? undefined : exchange.table.index(principal.project.id, uid)
  const any = exchange.table.indexes(principal.project.id)[0]
  const target = route ?? any
  if (target === undefined) throw routeNotAvailable('Rendering a template without any index')
  const outcome = await askRead(
    () => connectTo(parts.follower.table, parts.pools, readPlacement(target)),
    jsonRequest('POST', '/render-template', body),
    { signal, answerBytesMax: heldBytesMax, clock: parts.clock },
  )
  if (outcome.kind !== 'answered') throw failureError(outcome)
  const { reply } = outcome
  if (reply.status !== 200) throw engineError(reply.status, readErrorBody(reply.body), names, exchange)
  return { kind: 'bytes', status: 200, contentType: 'application/json', body: reply.body }
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
