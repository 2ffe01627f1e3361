/**
 * Connections to nodes: one bounded pool for each, kept alive, replaced when a node's address changes. Health is passive:
 * what requests met is remembered, nothing is probed here.
 */
import { type Dispatcher, Pool } from 'undici'
import type { Node, NodeId } from '../store/catalogue.ts'

export interface NodePoolsOptions {
  /** Connections to one node; further requests wait. */
  readonly connectionsMax: number
  readonly connectTimeoutMs: number
  /** From the request to the first byte of the answer, and between two pieces of it. */
  readonly answerTimeoutMs: number
}

export interface NodeHealth {
  /** Failures since the last answer. */
  readonly failures: number
  /** What the last one was, for logs and operators. */
  readonly lastFailure: string | undefined
}

/** A pool and what it met. */
export interface NodeConnection {
  readonly dispatcher: Dispatcher
  /** `Bearer …` of the node; `undefined` when it is open. */
  readonly authorization: string | undefined
  answered(): void
  failed(reason: string): void
}

export interface NodePools {
  connection(node: Node): NodeConnection
  health(id: NodeId): NodeHealth
  /** Ends idle connections and, when they are done, busy ones. */
  close(): Promise<void>
}

/** A node counts as ill after this many failures in a row. */
export const illAfterFailures = 3

const healthy: NodeHealth = { failures: 0, lastFailure: undefined }

class PooledNode implements NodeConnection {
  readonly url: string
  readonly key: string | null
  readonly dispatcher: Pool
  readonly authorization: string | undefined
  health: NodeHealth = healthy

  constructor(node: Node, options: NodePoolsOptions) {
    this.url = node.url
    this.key = node.key
    this.authorization = node.key === null ? undefined : `Bearer ${node.key}`
    this.dispatcher = new Pool(new URL(node.url).origin, {
      connections: options.connectionsMax,
      pipelining: 1,
      connect: { timeout: options.connectTimeoutMs },
      headersTimeout: options.answerTimeoutMs,
      bodyTimeout: options.answerTimeoutMs,
      // Below the idle time after which engines close connections, so that a request does not meet a closing one.
      keepAliveTimeout: 4_000,
      keepAliveMaxTimeout: 60_000,
    })
  }

  answered(): void {
    if (this.health !== healthy) this.health = healthy
  }

  failed(reason: string): void {
    this.health = { failures: this.health.failures + 1, lastFailure: reason }
  }
}

export function createNodePools(options: NodePoolsOptions): NodePools {
  const pools = new Map<NodeId, PooledNode>()
  const retired = new Set<Promise<void>>()

  function retire(pool: PooledNode): void {
    const ended = pool.dispatcher.close().then(
      () => undefined,
      () => undefined,
    )
    retired.add(ended)
    void ended.then(() => retired.delete(ended))
  }

  return {
    connection(node) {
      const known = pools.get(node.id)
      if (known !== undefined && known.url === node.url && known.key === node.key) return known
      if (known !== undefined) retire(known)
      const pool = new PooledNode(node, options)
      pools.set(node.id, pool)
      return pool
    },
    health: (id) => pools.get(id)?.health ?? healthy,
    async close() {
      for (const pool of pools.values()) retire(pool)
      pools.clear()
      await Promise.all(retired)
    },
  }
}
