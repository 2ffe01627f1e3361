/** What a gateway is started with, and what it is then. */
import type { Logger } from 'pino'
import type { Registry } from 'prom-client'
import type { Config } from '../config/config.ts'
import type { RateLimitOptions } from '../control/rate-limits.ts'
import type { TokenStore } from '../control/shared-rate-limits.ts'
import type { PublishedKey } from '../control/token-keys.ts'
import type { Journal } from '../journal/ports.ts'
import type { Clock } from '../lib/clock.ts'
import type { AllowedNetworks } from '../lib/egress-policy.ts'
import type { Random } from '../lib/random.ts'
import type { TlsFiles } from '../lib/tls-files.ts'
import type { Traces } from '../lib/traces.ts'
import type { GatewayRegistry } from '../store/gateway-registry.ts'
import type { Catalogue } from '../store/ports.ts'
import type { HealthOptions } from '../upstream/node-health.ts'
import type { GatewayAdmin } from './gateway-admin.ts'
import type { HostRules } from './request-host.ts'

export interface GatewayLimits {
  /** Body of document routes, decoded. Default 100 MB (decimal), as Meilisearch. */
  readonly documentBytesMax: number
  /** Body of search routes. Default 1 MB. */
  readonly searchBytesMax: number
  /** Body of settings and all other routes. Default 10 MB. */
  readonly bodyBytesMax: number
  /** From a request to an engine to the first byte of its answer. Default 60,000. */
  readonly answerTimeoutMs: number
  /** Requests being answered at once; more are refused, so that a flood ends in refusals instead of in memory. Default 4,096. */
  readonly openRequestsMax: number
  /** The same of one project, so that it leaves room for its neighbours. Default 1,024. */
  readonly projectRequestsMax: number
}

export const defaultLimits: GatewayLimits = {
  documentBytesMax: 100_000_000,
  searchBytesMax: 1_000_000,
  bodyBytesMax: 10_000_000,
  answerTimeoutMs: 60_000,
  openRequestsMax: 4_096,
  projectRequestsMax: 1_024,
}

export interface GatewayOptions {
  /** `host:port`; port 0 = any free one. */
  readonly httpAddr: string
  readonly catalogue: Catalogue
  readonly journal: Journal
  readonly logger: Logger
  readonly metrics: Registry
  readonly clock?: Clock
  readonly random?: Random
  readonly limits?: Partial<GatewayLimits>
  /** Certificates; answers are given over TLS then. Absent = plain HTTP. */
  readonly tls?: TlsFiles
  /** Default: every host is taken. */
  readonly hosts?: HostRules
  /** Where gateways say that they live. Absent = this one is alone. */
  readonly registry?: GatewayRegistry
  /** Rate limits are divided by `rateLimits.shareCount`, however many gateways live. Default false. */
  readonly isShareFixed?: boolean
  /** Absent = no rate limits (P-19). */
  readonly rateLimits?: RateLimitOptions
  /** Where all gateways take tokens of `rateLimits` from. Absent = each allows its share. */
  readonly tokenStore?: TokenStore
  /** Of one address, before it is held; 0 = never. Default 20. */
  readonly authFailuresPerMinute?: number
  /** Keys that verify the access tokens which this installation signs (P-05); may throw `StoreUnavailable`. Default: none. */
  readonly platformKeys?: () => readonly PublishedKey[]
  /** Where a copy of the routes is kept, sealed with the 32 bytes of `key`; an older copy is not used (P-16). Default: nowhere. */
  readonly routeCopy?: { readonly path: string; readonly key: Uint8Array; readonly ageMsMax: number }
  /** Requests are refused when the store is away for longer (P-17). Default: never. */
  readonly trustMsMax?: number | null
  /** Routes may be set by hand, and none are needed to start (P-23). Default false. */
  readonly isTestMode?: boolean
  /** Emulated Meilisearch release. Default: the one that we speak. */
  readonly version?: string
  /** Connections to one node. Default 128. */
  readonly connectionsPerNode?: number
  /** How nodes are probed. Default: not at all. */
  readonly health?: HealthOptions
  /** How spread indexes are read. Default: the configuration's defaults. */
  readonly cluster?: Config['cluster']
  /** Absent = nobody collects spans. */
  readonly traces?: Traces
  /** Where webhooks, embedders, exports and keys of issuers may be (M-H7, P-08). Default: public addresses. */
  readonly outbound?: { readonly allowed: AllowedNetworks; readonly httpsOnly?: boolean }
}

export interface Gateway {
  /** `http://host:port` as bound. */
  readonly url: string
  readonly admin: GatewayAdmin
  /** Stops accepting, lets requests end (at most `drainMs`, default 10,000), then closes everything. May run twice. */
  close(drainMs?: number): Promise<void>
}
