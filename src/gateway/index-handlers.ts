/** Indexes: listed and read from the route table, written through the journal (M-A3). */
import { decodeIndexCreation, decodeIndexUpdate, decodeSwaps } from '../api/index-body.ts'
import { indexNotFound } from '../api/index-uid.ts'
import { decodeIndexPage, renderPage } from '../api/page-query.ts'
import { renderTime } from '../api/task-view.ts'
import { authoriseIndex, seesIndex } from '../control/principal.ts'
import type { IndexEntry } from '../store/catalogue.ts'
import { json } from './answer.ts'
import { append } from './append.ts'
import { type Call, type Handler, pathUid } from './exchange.ts'
import { readJson } from './request-body.ts'

function renderIndex({ uid, createdAt, updatedAt, primaryKey }: IndexEntry) {
  return { uid, createdAt: renderTime(createdAt), updatedAt: renderTime(updatedAt), primaryKey }
}

function jsonBody(call: Call) {
  return readJson(call.exchange.request, call.headers, call.parts.limits.bodyBytesMax)
}

/** `GET /indexes`. */
export const listIndexes: Handler = async ({ exchange, principal, search }) => {
  const page = decodeIndexPage(search)
  const all = exchange.table.indexes(principal.project.id)
  const visible = principal.seesAllIndexes ? all : all.filter(({ index }) => seesIndex(principal, index.uid))
  const { results, ...rest } = renderPage(visible, page)
  return json(200, { results: results.map(({ index }) => renderIndex(index)), ...rest })
}

/** `GET /indexes/{uid}`. */
export const readIndex: Handler = async (call) => {
  const uid = pathUid(call)
  const route = call.exchange.table.index(call.principal.project.id, uid)
  if (route === undefined) throw indexNotFound(uid)
  return json(200, renderIndex(route.index))
}

/** `POST /indexes`. */
export const createIndex: Handler = async (call) => {
  const { uid, primaryKey } = decodeIndexCreation(await jsonBody(call))
  authoriseIndex(call.principal, uid)
  return append(call, { uid, operation: { kind: 'index-create', primaryKey } })
}

/** `PATCH /indexes/{uid}`. */
export const updateIndex: Handler = async (call) => {
  const { primaryKey, uid } = decodeIndexUpdate(await jsonBody(call))
  if (uid !== null) authoriseIndex(call.principal, uid)
  return append(call, {
    uid: pathUid(call),
    operation: { kind: 'index-update', primaryKey, uid },
    mayCreateIndex: false,
  })
}

/** `DELETE /indexes/{uid}`. */
export const deleteIndex: Handler = (call) =>
  append(call, { uid: pathUid(call), operation: { kind: 'index-delete' }, mayCreateIndex: false })

/** `POST /indexes/{uid}/compact`. */
export const compactIndex: Handler = (call) =>
  append(call, { uid: pathUid(call), operation: { kind: 'index-compact' }, mayCreateIndex: false })

/** `POST /swap-indexes`. */
export const swapIndexes: Handler = async (call) => {
  const swaps = decodeSwaps(await jsonBody(call))
  for (const { indexes } of swaps) for (const uid of indexes) authoriseIndex(call.principal, uid)
  return append(call, { uid: null, operation: { kind: 'index-swap', swaps }, mayCreateIndex: false })
}
