/**
 * Resolves what depends on the state of the index (delete by filter, `skipCreation`, edit by function) to plain puts and
 * deletes by id, at its own position (design 2, rule 1; NF-04, NF-05, NF-20).
 *
 * Before: the node holds everything in front of the change and nothing behind it, and nobody else writes to the index, so
 * that reading it page by page is reading one state.
 * Twice:  safe; nothing of the change was delivered before its resolution is recorded.
 */
import { quoteLongIntegers } from '../engine/http-call.ts'
import type { Payload, Resolution } from '../journal/change.ts'
import type { LaneChange } from '../journal/ports.ts'
import { assert } from '../lib/assert.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import { shardOfKey } from '../topology/rendezvous.ts'
import { documentId } from './document-id.ts'
import { resolveEdit } from './edit-resolution.ts'
import { bytesOf, linesOf } from './ndjson.ts'
import { emptyResolution, pageOf, type ResolutionDeps, ResolutionInterrupted } from './resolution-reads.ts'

const idsPerPage = 10_000
const idsPerLookUp = 1_000

/** @throws ResolutionInterrupted, StoreUnavailable */
export async function resolveChange(deps: ResolutionDeps, item: LaneChange): Promise<Resolution> {
  const { change, primaryKey } = item
  const { operation } = change
  switch (operation.kind) {
    case 'documents-delete-by-filter':
      return resolveFilter(deps, operation.filter, primaryKey)
    case 'documents-put':
      assert(change.payload !== null, `a put without payload at position ${change.position}`)
      return resolveKnown(deps, change.payload, operation.merge, primaryKey)
    case 'documents-edit':
      return resolveEdit(deps, operation, primaryKey)
    default:
      throw new Error(`a ${operation.kind} does not depend on the state of the index`)
  }
}

/** Delete by filter: the ids that match. */
async function resolveFilter(deps: ResolutionDeps, filter: Json, primaryKey: string | null): Promise<Resolution> {
  const first = await pageOf(deps, { filter, ...onlyId(primaryKey), limit: idsPerPage, offset: 0 })
  if (first.kind === 'refused') return { ...emptyResolution, error: first.error }
  // An index without a primary key holds no documents.
  if (primaryKey === null || first.results.length === 0) return emptyResolution
  const key = primaryKey
  const firstPage = first.results
  let deleteCount = 0
  async function* ids(): AsyncGenerator<string> {
    let page = firstPage
    for (let offset = 0; page.length > 0; ) {
      for (const document of page) {
        const id = documentId(document, key)
        if (id === undefined) continue
        deleteCount += 1
        yield JSON.stringify(id)
      }
      if (page.length < idsPerPage) return
      offset += page.length
      const next = await pageOf(deps, { filter, fields: [key], limit: idsPerPage, offset })
      if (next.kind === 'refused') throw new ResolutionInterrupted('a later page was refused')
      page = next.results
    }
  }
  const deletes = await deps.journal.stage(bytesOf(ids()))
  return { ...emptyResolution, deletes, deleteCount }
}

function onlyId(primaryKey: string | null): { readonly fields?: readonly string[] } {
  return primaryKey === null ? {} : { fields: [primaryKey] }
}

function isAskedFor({ scope }: ResolutionDeps, id: string): boolean {
  return scope === null || scope.shards.includes(shardOfKey(id, scope.of))
}

/** `skipCreation`: only the documents whose id the index already has. */
async function resolveKnown(
  deps: ResolutionDeps,
  payload: Payload,
  merge: boolean,
  primaryKey: string | null,
): Promise<Resolution> {
  if (primaryKey === null) return emptyResolution
  const key = primaryKey
  const written = new Set<string>()
  let lineCount = 0
  async function* known(): AsyncGenerator<string> {
    let group: { readonly line: string; readonly id: string }[] = []
    for await (const line of linesOf(deps.journal.open(payload))) {
      const id = documentId(JSON.parse(quoteLongIntegers(line)) as JsonObject, key)
      if (id !== undefined && isAskedFor(deps, id)) group.push({ line, id })
      if (group.length < idsPerLookUp) continue
      yield* await keepKnown(group)
      group = []
    }
    yield* await keepKnown(group)
  }
  async function keepKnown(group: readonly { readonly line: string; readonly id: string }[]): Promise<string[]> {
    const ids = [...new Set(group.map(({ id }) => id))]
    if (ids.length === 0) return []
    const page = await pageOf(deps, { ids, fields: [key], limit: ids.length })
    if (page.kind === 'refused') throw new ResolutionInterrupted(`ids were refused: ${page.error.code}`)
    const present = new Set(page.results.map((document) => documentId(document, key)))
    const kept = group.filter(({ id }) => present.has(id))
    for (const { id } of kept) written.add(id)
    lineCount += kept.length
    return kept.map(({ line }) => line)
  }
  const puts = await deps.journal.stage(bytesOf(known()))
  if (written.size === 0) return emptyResolution
  const putCount = written.size
  return { ...emptyResolution, puts, merge, putCount, ...(lineCount === putCount ? {} : { lineCount }) }
}
