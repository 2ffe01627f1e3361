/** Edits documents by a function (M-E5): all of them or, when one fails, none. */
import { ApiError } from '../api/errors.ts'
import type { Bitmap } from '../lib/bitmap.ts'
import type { JsonObject } from '../lib/json.ts'
import { joinMembers, type Members, splitMembers } from '../lib/json-cut.ts'
import type { EngineOperation } from './core.ts'
import { checkGeo, checkShape, documentIdOf, type GivenVectors, givenVectors } from './document-check.ts'
import type { DocumentWriter } from './document-writer.ts'
import { compileEdit, type EditFunction, ScriptError, SyntaxMistake } from './edit-function/edit-function.ts'
import type { LmdbIndexReader } from './lmdb-index-reader.ts'

export interface EditionDeps {
  /** Sees everything that was written before. */
  readonly reader: LmdbIndexReader
  readonly writer: DocumentWriter
  readonly primaryKey: string | null
  readonly checkAborted: () => void
}

type Operation = Extract<EngineOperation, { readonly kind: 'documents-edit' }>

type EditedDocument =
  | { readonly kind: 'deleted'; readonly id: string }
  | {
      readonly kind: 'changed'
      readonly id: string
      readonly document: JsonObject
      readonly members: Members
      readonly vectors: ReadonlyMap<string, GivenVectors>
      readonly textBytes: number
    }

/** Changed documents that are kept; more are computed twice: a function answers the same for the same document. */
const keptBytesMax = 8 * 1024 * 1024

/** Answers the details of the task. @throws ApiError before anything was written. */
export function editDocuments(operation: Operation, matching: Bitmap, deps: EditionDeps): JsonObject {
  // As in the reference, both say how many documents the function saw.
  const details = { deletedDocuments: matching.size, editedDocuments: matching.size }
  if (matching.isEmpty()) return details
  const edit = compiled(operation)
  const kept: EditedDocument[] = []
  let keptBytes = 0
  for (const edited of runEdits(edit, matching, deps)) {
    keptBytes += edited.kind === 'changed' ? edited.textBytes : 64
    if (keptBytes <= keptBytesMax) kept.push(edited)
  }
  // From here on the task is accepted.
  for (const edited of keptBytes <= keptBytesMax ? kept : runEdits(edit, matching, deps)) {
    if (edited.kind === 'deleted') deps.writer.delete(edited.id)
    else deps.writer.put(edited.id, edited.document, edited.members, edited.vectors, false)
  }
  return details
}

const failure = (text: string): ApiError => new ApiError('edit_documents_by_function_error', text)

function compiled({ function: text, context, contextText }: Operation): EditFunction {
  try {
    return compileEdit(text, contextText ?? (context === null ? null : JSON.stringify(context)))
  } catch (error) {
    if (!(error instanceof SyntaxMistake)) throw error
    throw failure(`Document edition runtime error encountered while compiling the function: ${error.message}`)
  }
}

function* runEdits(edit: EditFunction, matching: Bitmap, deps: EditionDeps): Generator<EditedDocument> {
  const { reader, writer, checkAborted } = deps
  const primaryKey = deps.primaryKey ?? ''
  const fresh = new Set<string>()
  for (const docid of matching) {
    checkAborted()
    const stored = reader.storedDocument(docid)
    if (stored === undefined) continue
    const { id } = stored
    const result = run(edit, splitMembers(stored.text))
    if (result.kind === 'unchanged') continue
    if (result.kind === 'deleted') {
      yield { kind: 'deleted', id }
      continue
    }
    if (result.kind === 'no-object') throw failure('Document editions must keep documents as objects')
    const members: Members = new Map(result.members)
    const text = joinMembers(members)
    const document = JSON.parse(text) as JsonObject
    if (documentIdOf(primaryKey, document, members, text) !== id)
      throw failure("Document editions cannot modify a document's primary key")
    checkGeo(writer.settings, document, id)
    checkShape(writer.settings, document)
    if (!writer.hasRoomFor(document, fresh))
      throw new ApiError('max_fields_limit_exceeded', 'A document cannot contain more than 65,535 fields.')
    const vectors = givenVectors(writer.settings, document, id)
    yield { kind: 'changed', id, document, members, vectors, textBytes: text.length }
  }
}

function run(edit: EditFunction, members: Members): ReturnType<EditFunction['edit']> {
  try {
    return edit.edit(members)
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error
    throw failure(`Document edition runtime error encountered while running the function: ${error.message}`)
  }
}
