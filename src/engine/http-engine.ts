/** The engine adapter for stock Meilisearch and the embedded engine: one HTTP API, spoken through undici. */
import type { Engine } from './engine.ts'

export interface HttpEngineOptions {
  /** Base URL without a trailing slash. */
  readonly url: string
  /** The engine's master key; null = it runs without one. */
  readonly key: string | null
  /** Longest wait for the headers of an answer. Default 30 s. */
  readonly answerTimeoutMs?: number
}

export interface HttpEngine extends Engine {
  /** Closes the connections. */
  close(): Promise<void>
}

export function createHttpEngine(options: HttpEngineOptions): HttpEngine {
  throw new Error(`not yet: ${options.url}`)
}
