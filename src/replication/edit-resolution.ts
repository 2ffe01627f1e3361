/**
 * Resolves an edit by function: the engine runs it on a scratch index that holds just the matching documents, and what
 * differs afterwards is the resolution. The function itself never touches the index: it is not repeatable (NF-04).
 */
import { createHash } from 'node:crypto'
import { reservedFields } from '../api/reserved-fields.ts'
import type { EngineReply, EngineTask } from '../engine/engine.ts'
import { quoteLongIntegers } from '../engine/http-call.ts'
import type { Operation, Resolution } from '../journal/change.ts'
import type { JsonObject } from '../lib/json.ts'
import { canonicalText, joinMembers, splitMembers } from '../lib/json-cut.ts'
import { documentId } from './document-id.ts'
import { bytesOf } from './ndjson.ts'
import { isNodeTrouble } from './node-trouble.ts'
import { emptyResolution, pageOf, type ResolutionDeps, ResolutionInterrupted, textsOf } from './resolution-reads.ts'

type Edit = Extract<Operation, { readonly kind: 'documents-edit' }>

const documentsPerPage = 1_000
const scratchMark = 'fj1-scratch'
/** How names of scratch indexes begin; those of customers begin otherwise. */
export const scratchPrefix = 'fjscratch_'

export async function resolveEdit(deps: ResolutionDeps, edit: Edit, primaryKey: string | null): Promise<Resolution> {
  const filter = edit.filter === null ? {} : { filter: edit.filter }
  const first = await pageOf(deps, { ...filter, limit: 1 })
  if (first.kind === 'refused') return { ...emptyResolution, error: first.error }
  if (primaryKey === null || first.results.length === 0) return emptyResolution
  // A scratch index of an attempt that was cut short may still be there.
  await finished(deps.run((signal) => deps.engine.deleteIndex(deps.scratchUid, signal)))
  try {
    return await editScratch(deps, edit, primaryKey)
  } finally {
    await deps.run((signal) => deps.engine.deleteIndex(deps.scratchUid, signal))
  }
}

async function editScratch(deps: ResolutionDeps, edit: Edit, primaryKey: string): Promise<Resolution> {
  const before = new Map<string, string>()
  for (let offset = 0; ; offset += documentsPerPage) {
    const filter = edit.filter === null ? {} : { filter: edit.filter }
    const page = await textsOf(deps, deps.physicalUid, { ...filter, limit: documentsPerPage, offset })
    if (page.kind === 'refused') return { ...emptyResolution, error: page.error }
    const documents = page.texts.map(clientPart)
    for (const document of documents) before.set(idOf(document, primaryKey), digest(document))
    if (documents.length > 0) {
      const options = { merge: false, primaryKey, mark: scratchMark }
      const put = deps.run((signal) => deps.engine.putDocuments(deps.scratchUid, options, bytesOf(documents), signal))
      const written = (await finished(put))?.details?.indexedDocuments
      // What is not there would look as if the function had deleted it (NF-06).
      if (written !== documents.length) throw new ResolutionInterrupted('the scratch index is not whole')
    }
    if (documents.length < documentsPerPage) break
  }
  if (before.size === 0) return emptyResolution
  const context = edit.contextText ?? (edit.context === null ? null : JSON.stringify(edit.context))
  const call = { function: edit.function, filter: null, context }
  const edited = await deps.run((signal) => deps.engine.editDocuments(deps.scratchUid, call, scratchMark, signal))
  if (edited.kind === 'refused') return { ...emptyResolution, error: edited.error }
  if (edited.kind !== 'answered') throw new ResolutionInterrupted(edited.reason)
  if (edited.value.status !== 'succeeded') {
    const { error } = edited.value
    if (error === null) throw new ResolutionInterrupted('the edit was cancelled')
    const mayPass = error.code === 'internal' && !deps.isSecondTry
    if (isNodeTrouble(error) || mayPass) throw new ResolutionInterrupted(error.message)
    const message = error.message.replaceAll(deps.scratchUid, deps.physicalUid)
    return { ...emptyResolution, error: { ...error, message } }
  }
  return difference(deps, before, primaryKey)
}

/** Puts for what the function changed, deletes for what it removed. `before` is used up. */
async function difference(deps: ResolutionDeps, before: Map<string, string>, primaryKey: string): Promise<Resolution> {
  let putCount = 0
  async function* changed(): AsyncGenerator<string> {
    for (let offset = 0; ; offset += documentsPerPage) {
      const page = await textsOf(deps, deps.scratchUid, { limit: documentsPerPage, offset })
      if (page.kind === 'refused') throw new ResolutionInterrupted(page.error.message)
      for (const text of page.texts) {
        const document = clientPart(text)
        const id = idOf(document, primaryKey)
        const isChanged = before.get(id) !== digest(document)
        before.delete(id)
        if (!isChanged) continue
        putCount += 1
        yield document
      }
      if (page.texts.length < documentsPerPage) return
    }
  }
  const puts = await deps.journal.stage(bytesOf(changed()))
  const gone = [...before.keys()].map((id) => JSON.stringify(id))
  const deletes = gone.length === 0 ? null : await deps.journal.stage(bytesOf(gone))
  return {
    puts: putCount === 0 ? null : puts,
    merge: false,
    deletes,
    putCount,
    deleteCount: gone.length,
    error: null,
  }
}

/** `undefined` = there was nothing to do it to. */
async function finished(task: Promise<EngineReply<EngineTask>>): Promise<EngineTask | undefined> {
  const reply = await task
  if (reply.kind === 'answered') {
    const { status, error } = reply.value
    if (status === 'succeeded') return reply.value
    if (error?.code === 'index_not_found') return undefined
    throw new ResolutionInterrupted(error?.message ?? status)
  }
  throw new ResolutionInterrupted(reply.kind === 'refused' ? reply.error.message : reply.reason)
}

/** Without fields of ours; and vectors that the engine makes itself are made again. */
function clientPart(text: string): string {
  const members = splitMembers(text)
  const isOurs = reservedFields.map((name) => members.delete(name)).includes(true)
  const vectors = members.get('_vectors')
  if (vectors === undefined || !vectors.startsWith('{')) return isOurs ? joinMembers(members) : text
  const given = [...splitMembers(vectors)].filter(([, vector]) => !/"regenerate"\s*:\s*true/.test(vector))
  if (given.length === 0) members.delete('_vectors')
  else members.set('_vectors', joinMembers(given))
  return joinMembers(members)
}

/** Long numbers as text, so that ids keep every digit. */
const idOf = (text: string, primaryKey: string): string =>
  documentId(JSON.parse(quoteLongIntegers(text)) as JsonObject, primaryKey) ?? ''

function digest(text: string): string {
  return createHash('sha256').update(canonicalText(text)).digest('base64')
}
