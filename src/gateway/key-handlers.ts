/** Keys of the project (M-A8, M-G). A change is effective on this gateway before it is answered. */
import { decodeKeyChange, decodeKeyCreation, keyAlreadyExists, keyNotFound, renderKey } from '../api/key-body.ts'
import { decodeKeyPage, renderPage } from '../api/page-query.ts'
import { keyValue, plainCredential } from '../control/key-value.ts'
import type { ApiKey } from '../store/catalogue.ts'
import { credentialHash } from '../topology/route-table.ts'
import { empty, json } from './answer.ts'
import { type Call, type Handler, param } from './exchange.ts'
import { readJson } from './request-body.ts'

/** Its value is for callers that may read keys, of projects that reveal them (P-04). */
function show(call: Call, key: ApiKey) {
  const { actions, project } = call.principal
  const isShown = project.settings.revealKeys && actions.has('keys.get')
  return renderKey({ ...key, key: isShown ? shownValue(call, key) : null })
}

function shownValue(call: Call, { uid }: ApiKey): string {
  return keyValue(call.principal.project.masterKey, uid)
}

function jsonBody(call: Call) {
  return readJson(call.exchange.request, call.headers, call.parts.limits.bodyBytesMax)
}

/** `GET /keys`. */
export const listKeys: Handler = async (call) => {
  const page = decodeKeyPage(call.search)
  const keys = await call.parts.catalogue.keys(call.principal.project.id)
  const { results, ...rest } = renderPage(keys, page)
  return json(200, { results: results.map((key) => show(call, key)), ...rest })
}

/** `POST /keys`. */
export const createKey: Handler = async (call) => {
  const { catalogue, clock, follower, random } = call.parts
  const wanted = decodeKeyCreation(await jsonBody(call), clock.now())
  const uid = wanted.uid ?? random.uuid()
  const key = await catalogue.createKey(call.principal.project.id, { ...wanted, uid })
  if (key === 'exists') throw keyAlreadyExists(uid)
  await follower.refresh()
  // The one time that it is shown whatever the project's settings say.
  return json(201, renderKey({ ...key, key: shownValue(call, key) }))
}

/** The key that a path names by uid or by value. */
async function namedKey(call: Call): Promise<ApiKey> {
  const name = param(call, 'key')
  const keys = await call.parts.catalogue.keys(call.principal.project.id)
  const hash = credentialHash(plainCredential(name))
  const key = keys.find(({ uid }) => uid === name.toLowerCase()) ?? keys.find((candidate) => candidate.hash === hash)
  if (key === undefined) throw keyNotFound(name)
  return key
}

/** `GET /keys/{key}`. */
export const readKey: Handler = async (call) => json(200, show(call, await namedKey(call)))

/** `PATCH /keys/{key}`. */
export const updateKey: Handler = async (call) => {
  const change = decodeKeyChange(await jsonBody(call))
  const { uid } = await namedKey(call)
  const key = await call.parts.catalogue.updateKey(call.principal.project.id, uid, change)
  if (key === undefined) throw keyNotFound(param(call, 'key'))
  await call.parts.follower.refresh()
  return json(200, show(call, key))
}

/** `DELETE /keys/{key}`. */
export const deleteKey: Handler = async (call) => {
  const { uid } = await namedKey(call)
  if (!(await call.parts.catalogue.deleteKey(call.principal.project.id, uid))) throw keyNotFound(param(call, 'key'))
  await call.parts.follower.refresh()
  return empty(204)
}
