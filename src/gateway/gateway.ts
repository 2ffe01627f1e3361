/** The public listener: one pipeline, as data, from request id to render. */
import type { Logger } from 'pino'
import type { Registry } from 'prom-client'
import type { Payload } from '../journal/change.ts'
import type { Journal } from '../journal/ports.ts'
import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/random.ts'
import type { Catalogue } from '../store/ports.ts'

/** Stores a request's payload before the change that names it is appended. `PayloadStore` of the journal room implements it. */
export interface PayloadStage {
  /** Durable when it resolves; small ones come back inline. */
  stage(bytes: AsyncIterable<Uint8Array>): Promise<Payload>
  open(payload: Payload): AsyncIterable<Uint8Array>
}

export interface GatewayLimits {
  /** Body of document routes, decoded. Default 100 MB (decimal), as Meilisearch. */
  readonly documentBytesMax: number
  /** Body of search routes. Default 1 MB. */
  readonly searchBytesMax: number
  /** Body of settings and all other routes. Default 10 MB. */
  readonly bodyBytesMax: number
  /** Whole life of one request to an engine. Default 60,000. */
  readonly searchTimeoutMs: number
}

export interface GatewayOptions {
  /** `host:port`; port 0 = any free one. */
  readonly httpAddr: string
  readonly catalogue: Catalogue
  readonly journal: Journal
  readonly payloads: PayloadStage
  readonly logger: Logger
  readonly metrics: Registry
  readonly clock?: Clock
  readonly random?: Random
  readonly limits?: Partial<GatewayLimits>
  /** Emulated Meilisearch release. Default `1.50.0`. */
  readonly version?: string
  /** Connections to one node. Default 64. */
  readonly connectionsPerNode?: number
  /** Outbound URLs (webhooks) may point to private addresses (M-H7). Default false. */
  readonly allowPrivateUrls?: boolean
}

export interface Gateway {
  /** `http://host:port` as bound. */
  readonly url: string
  /** Stops accepting, lets requests end (at most `drainMs`, default 10,000), then closes everything. */
  close(drainMs?: number): Promise<void>
}

export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  throw new Error(`the gateway on ${options.httpAddr} is being built`)
}
