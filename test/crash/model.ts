/**
 * What a project must hold: the fold of its acknowledged changes in task order.
 *
 * Every write carries a tag in `customMetadata`. A write whose answer got lost in a crash may or may not have been
 * acknowledged; the task list tells which, by the tag, and the fold takes just those that are in it.
 */
import type { Random } from '../../src/lib/random.ts'

export type Document = { readonly id: number; readonly group: number; readonly [key: string]: unknown }

export type Write =
  | { readonly kind: 'put'; readonly index: string; readonly documents: readonly Document[] }
  | { readonly kind: 'merge'; readonly index: string; readonly documents: readonly Document[] }
  | { readonly kind: 'put-existing'; readonly index: string; readonly documents: readonly Document[] }
  | { readonly kind: 'delete'; readonly index: string; readonly ids: readonly number[] }
  | { readonly kind: 'delete-group'; readonly index: string; readonly group: number }
  | { readonly kind: 'clear'; readonly index: string }
  /** One document without an id: refused as a whole. */
  | { readonly kind: 'bad'; readonly index: string; readonly documents: readonly Record<string, unknown>[] }

const groupMax = 5

export interface WriteMix {
  /** Ids are below this. */
  readonly idMax: number
  /** Most documents of one write. */
  readonly documentsMax: number
  /** Whether an index is emptied now and then. */
  readonly clears: boolean
}

const smallMix: WriteMix = { idMax: 40, documentsMax: 5, clears: true }

/** A random write of a plausible mix; `serial` makes its contents unique, so that a doubled or re-ordered one shows. */
export function randomWrite(random: Random, indexes: readonly string[], serial: number, mix = smallMix): Write {
  const { idMax, documentsMax, clears } = mix
  const index = indexes[random.integer(indexes.length)]!
  const documents = () =>
    Array.from({ length: 1 + random.integer(documentsMax) }, (_, place) => ({
      id: random.integer(idMax),
      group: random.integer(groupMax),
      serial,
      place,
      [`only${serial % 3}`]: `text ${serial}`,
    }))
  const dice = random.integer(100)
  if (dice < 40) return { kind: 'put', index, documents: documents() }
  if (dice < 65) return { kind: 'merge', index, documents: documents() }
  if (dice < 72) return { kind: 'put-existing', index, documents: documents() }
  if (dice < 85)
    return { kind: 'delete', index, ids: Array.from({ length: 1 + random.integer(4) }, () => random.integer(idMax)) }
  if (dice < 93) return { kind: 'delete-group', index, group: random.integer(groupMax) }
  if (dice < 96) return clears ? { kind: 'clear', index } : { kind: 'put', index, documents: documents() }
  return { kind: 'bad', index, documents: [...documents(), { group: 1, serial }] }
}

export type Contents = Map<number, Document>

/** Applies one write; `bad` changes nothing. */
export function apply(contents: Contents, write: Write): void {
  switch (write.kind) {
    case 'put':
      for (const document of write.documents) contents.set(document.id, document)
      return
    case 'merge':
      for (const document of write.documents) contents.set(document.id, { ...contents.get(document.id), ...document })
      return
    case 'put-existing':
      for (const document of write.documents) if (contents.has(document.id)) contents.set(document.id, document)
      return
    case 'delete':
      for (const id of write.ids) contents.delete(id)
      return
    case 'delete-group':
      for (const [id, document] of contents) if (document.group === write.group) contents.delete(id)
      return
    case 'clear':
      contents.clear()
      return
    case 'bad':
      return
  }
}

/** Method, path and body of a write on the HTTP API. */
export function requestOf(write: Write): { readonly method: string; readonly path: string; readonly body?: unknown } {
  const documents = `/indexes/${write.index}/documents`
  switch (write.kind) {
    case 'put':
    case 'bad':
      return { method: 'POST', path: documents, body: write.documents }
    case 'merge':
      return { method: 'PUT', path: documents, body: write.documents }
    case 'put-existing':
      return { method: 'POST', path: `${documents}?skipCreation=true`, body: write.documents }
    case 'delete':
      return { method: 'POST', path: `${documents}/delete-batch`, body: write.ids }
    case 'delete-group':
      return { method: 'POST', path: `${documents}/delete`, body: { filter: `group = ${write.group}` } }
    case 'clear':
      return { method: 'DELETE', path: documents }
  }
}
