/**
 * Resolves an edit by function: the engine runs it on a scratch index that holds just the matching documents, and what
 * differs afterwards is the resolution. The function itself never touches the index: it is not repeatable (NF-04).
 */
import { createHash } from 'node:crypto'
import type { EngineReply, EngineTask } from '../engine/engine.ts'
import type { Operation, Resolution } from '../journal/change.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { documentId } from './document-id.ts'
import { bytesOf } from './ndjson.ts'
import { isNodeTrouble } from './node-trouble.ts'
import { emptyResolution, pageOf, type ResolutionDeps, ResolutionInterrupted } from './resolution-reads.ts'

type Edit = Extract<Operation, { readonly kind: 'documents-edit' }>

const documentsPerPage = 1_000
const scratchMark = 'fj1-scratch'

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
    const page = await pageOf(deps, { ...filter, limit: documentsPerPage, offset, retrieveVectors: true })
    if (page.kind === 'refused') return { ...emptyResolution, error: page.error }
    const documents = page.results.map(withoutGenerated)
    for (const document of documents) before.set(documentId(document, primaryKey) ?? '', digest(document))
    if (documents.length > 0) {
      const lines = documents.map((document) => JSON.stringify(document))
      const put = { merge: false, primaryKey, mark: scratchMark }
      await finished(deps.run((signal) => deps.engine.putDocuments(deps.scratchUid, put, bytesOf(lines), signal)))
    }
    if (documents.length < documentsPerPage) break
  }
  if (before.size === 0) return emptyResolution
  const call = { function: edit.function, filter: null, context: edit.context }
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
  const scratch = { ...deps, physicalUid: deps.scratchUid }
  async function* changed(): AsyncGenerator<string> {
    for (let offset = 0; ; offset += documentsPerPage) {
      const page = await pageOf(scratch, { limit: documentsPerPage, offset, retrieveVectors: true })
      if (page.kind === 'refused') throw new ResolutionInterrupted(page.error.message)
      for (const raw of page.results) {
        const document = withoutGenerated(raw)
        const id = documentId(document, primaryKey) ?? ''
        const isChanged = before.get(id) !== digest(document)
        before.delete(id)
        if (!isChanged) continue
        putCount += 1
        yield JSON.stringify(document)
      }
      if (page.results.length < documentsPerPage) return
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

async function finished(task: Promise<EngineReply<EngineTask>>): Promise<void> {
  const reply = await task
  if (reply.kind === 'answered') {
    const { status, error } = reply.value
    if (status === 'succeeded' || error?.code === 'index_not_found') return
    throw new ResolutionInterrupted(error?.message ?? status)
  }
  throw new ResolutionInterrupted(reply.kind === 'refused' ? reply.error.message : reply.reason)
}

/** Vectors that the engine makes itself are made again; those that a client gave travel with the document. */
function withoutGenerated(document: JsonObject): JsonObject {
  const { _vectors: vectors, ...fields } = document
  if (!isObject(vectors)) return document
  const given = Object.entries(vectors).filter(([, vector]) => !isObject(vector) || vector.regenerate !== true)
  return given.length === 0 ? fields : { ...fields, _vectors: Object.fromEntries(given) }
}

function digest(document: JsonObject): string {
  return createHash('sha256')
    .update(JSON.stringify(sorted(document)))
    .digest('base64')
}

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted)
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key]!)]),
  )
}
