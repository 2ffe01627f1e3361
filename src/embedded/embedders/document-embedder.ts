/** One embedder of an index at work on documents: what it sends of a document, and the vectors that come back. */
import { type DocumentTemplate, documentScope, parseDocumentTemplate } from '../../api/document-template.ts'
import { type ErrorBody, type ErrorCode, errorBody } from '../../api/errors.ts'
import { InjectionFault } from '../../api/injected-value.ts'
import { type JsonTemplate, parseJsonTemplate } from '../../api/json-template.ts'
import { TemplateFault } from '../../api/liquid-template.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { missingVectorsMessage } from '../document-check.ts'
import { EmbedError, localModel } from './embed-error.ts'
import { type EmbedderConfig, readEmbedder, UnknownAddress } from './embedder-config.ts'
import { inputsPerRequest, requestsAtOnce, takesSeveral } from './embedding-client.ts'
import type { BlockingEmbedding } from './embedding-thread.ts'

/** Vectors that a batch needs cannot be made: nothing of the batch is stored, and its tasks fail with this. */
export class EmbeddingFailed extends Error {
  override readonly name = 'EmbeddingFailed'
  readonly body: ErrorBody

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options)
    this.body = errorBody(code, message)
  }
}

export interface DocumentEmbedderDeps {
  readonly embedding: BlockingEmbedding
  readonly checkAborted: () => void
  /** Vectors of one document, one per input that it asked for. */
  readonly store: (docid: number, vectors: readonly Float32Array[]) => void
}

interface Waiting {
  readonly docid: number
  readonly id: string
  readonly inputCount: number
}

export class DocumentEmbedder {
  readonly name: string
  readonly #config: EmbedderConfig | EmbedError
  readonly #dimensions: number | null
  readonly #template: DocumentTemplate | null
  readonly #fragments: readonly (readonly [string, JsonTemplate])[]
  readonly #deps: DocumentEmbedderDeps
  #waiting: Waiting[] = []
  #inputs: Json[] = []

  /** @param dimensions  of its vectors; null = not known. */
  constructor(name: string, settings: JsonObject, dimensions: number | null, deps: DocumentEmbedderDeps) {
    this.name = name
    this.#dimensions = dimensions
    this.#deps = deps
    const config = configOf(settings)
    this.#config = config
    this.#template =
      config instanceof EmbedError || config.template === null ? null : parseDocumentTemplate(config.template)
    this.#fragments =
      config instanceof EmbedError
        ? []
        : config.fragments.map(([fragment, value]) => [fragment, parseJsonTemplate(value, '')] as const)
  }

  /**
   * What is embedded of a document. Fragments that need what the document has not are left out.
   *
   * @throws EmbeddingFailed when the template does.
   */
  inputsOf(id: string, document: JsonObject, isSearchable: (field: string) => boolean): readonly Json[] {
    if (this.#fragments.length > 0) {
      const scope = documentScope(document)
      return this.#fragments.flatMap(([, template]) => renderedOrNothing(() => template.render(scope, '')))
    }
    if (this.#template === null) return []
    try {
      return [this.#template.render(document, isSearchable)]
    } catch (error) {
      if (!(error instanceof TemplateFault)) throw error
      throw new EmbeddingFailed(
        'invalid_document_fields',
        `user error: missing field in document \`${id}\`: ${error.message}`,
        { cause: error },
      )
    }
  }

  /** Another way of looking at the document gives other inputs, or cannot be told. */
  isChanged(inputs: readonly Json[], before: () => readonly Json[]): boolean {
    try {
      return JSON.stringify(before()) !== JSON.stringify(inputs)
    } catch (error) {
      if (!(error instanceof EmbeddingFailed)) throw error
      return true
    }
  }

  /** Asks for the vectors of a document; they are stored by the next `flush` at the latest. @throws EmbeddingFailed */
  request(docid: number, id: string, inputs: readonly Json[]): void {
    if (inputs.length === 0 && this.#fragments.length > 0) {
      this.#deps.store(docid, [])
      return
    }
    this.#waiting.push({ docid, id, inputCount: inputs.length })
    this.#inputs.push(...inputs)
    const config = this.#config
    const isWide = !(config instanceof EmbedError) && config.indexing.kind === 'http' && takesSeveral(config.indexing)
    if (this.#inputs.length >= requestsAtOnce * (isWide ? inputsPerRequest : 1)) this.flush()
  }

  /** @throws EmbeddingFailed */
  flush(): void {
    if (this.#waiting.length === 0) return
    const [waiting, inputs] = [this.#waiting, this.#inputs]
    this.#waiting = []
    this.#inputs = []
    const vectors = this.#embed(waiting, inputs)
    let at = 0
    for (const { docid, inputCount } of waiting) {
      this.#deps.store(docid, vectors.slice(at, at + inputCount))
      at += inputCount
    }
  }

  #embed(waiting: readonly Waiting[], inputs: readonly Json[]): readonly Float32Array[] {
    const config = this.#config
    try {
      if (config instanceof EmbedError) throw config
      const { indexing } = config
      if (indexing.kind === 'given')
        throw new EmbeddingFailed(
          'vector_embedding_error',
          missingVectorsMessage(
            this.name,
            waiting.map(({ id }) => id),
          ),
        )
      if (indexing.kind === 'local') throw localModel(indexing.model)
      const { embedding, checkAborted } = this.#deps
      return embedding.embed(indexing, inputs, { dimensions: this.#dimensions, checkAborted })
    } catch (error) {
      if (!(error instanceof EmbedError)) throw error
      throw new EmbeddingFailed(
        'vector_embedding_error',
        `While embedding documents for embedder \`${this.name}\`: ${error.message}`,
        { cause: error },
      )
    }
  }
}

/** Settings that an earlier version let in may make no sense; that shows when they are used. */
export function configOf(settings: JsonObject): EmbedderConfig | EmbedError {
  try {
    return readEmbedder(settings)
  } catch (error) {
    if (!(error instanceof InjectionFault || error instanceof UnknownAddress)) throw error
    return new EmbedError('user error', error.message, null, { cause: error })
  }
}

function renderedOrNothing(render: () => Json): readonly Json[] {
  try {
    return [render()]
  } catch (error) {
    if (!(error instanceof TemplateFault)) throw error
    return []
  }
}
