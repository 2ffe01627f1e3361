/**
 * Uploaded documents as a stream (M-E1 to M-E3, M-E7): cut into single documents, each checked, then handed on as NDJSON
 * without ever holding the payload. What the engine would refuse is found here (design 2, rule 3; NF-21).
 */
import type { ErrorBody } from './errors.ts'

export type DocumentFormat =
  | { readonly kind: 'json' }
  | { readonly kind: 'ndjson' }
  /** `delimiter`: one ASCII character. */
  | { readonly kind: 'csv'; readonly delimiter: string }

/** What is known of the index when the request arrives. */
export interface DocumentCheck {
  /** The index's key, or else the request's argument; null = infer it from the first document (M-E2). */
  readonly primaryKey: string | null
  /** Dimensions of each embedder, null = not known; absent name = unknown embedder, not checked. */
  readonly embedders: Readonly<Record<string, { readonly dimensions: number | null; readonly userProvided: boolean }>>
  /** true = a merge (PUT): a document need not carry vectors of user-provided embedders. */
  readonly merge: boolean
}

export interface DocumentFindings {
  readonly received: number
  /** Different ids; equals `received` when no key is known. */
  readonly distinct: number
  /** The key found in the first document; null = given, or nothing to infer from. */
  readonly inferred: string | null
  /** Why the task must fail; the payload is then worth nothing. */
  readonly refusal: ErrorBody | null
}

/**
 * Yields NDJSON (one document a line, bytes as sent), then returns the findings.
 *
 * A refused document does not stop the reading: syntax is judged to the end, as the reference does.
 *
 * @throws ApiError `malformed_payload` or `missing_payload` (messages 12 to 14); what `source` throws passes through.
 */
export declare function readDocuments(
  source: AsyncIterable<Uint8Array>,
  format: DocumentFormat,
  check: DocumentCheck,
): AsyncGenerator<Uint8Array, DocumentFindings>
