/**
 * Connections to nodes: one bounded pool for each, kept alive, replaced when a node's address changes. Health is passive:
 * what requests met is remembered, nothing is probed here.
 */
import type { Node, NodeId } from '../store/catalogue.ts'
import {
  type AnswerReceiver,
  ConnectionPool,
  type ConnectionPoolOptions,
  type NodeRequest,
  type PendingAnswer,
} from './connection-pool.ts'
import type { UpstreamFailure } from './failure.ts'

export interface NodeHealth {
  /** Failures since the last answer. */
  readonly failures: number
  /** What the last one was, for logs and operators. */
  readonly lastFailure: string | undefined
}

export interface NodeConnection {
  send(request: NodeRequest, receiver: AnswerReceiver): PendingAnswer
}

export interface NodePools {
  connection(node: Node): NodeConnection
  health(id: NodeId): NodeHealth
  /** Ends idle connections and, when they are done, busy ones. */
  close(): Promise<void>
}

const healthy: NodeHealth = { failures: 0, lastFailure: undefined }

/** A pool and what it met. */
class PooledNode implements NodeConnection {
  readonly url: string
  readonly key: string | null
  readonly pool: ConnectionPool
  health: NodeHealth = healthy

  constructor(node: Node, options: ConnectionPoolOptions) {
    this.url = node.url
    this.key = node.key
    this.pool = new ConnectionPool(new URL(node.url), node.key === null ? undefined : `Bearer ${node.key}`, options)
  }

  send(request: NodeRequest, receiver: AnswerReceiver): PendingAnswer {
    return this.pool.send(request, new Observed(this, receiver))
  }
}

/** Passes an answer on, and notes how it ended. */
class Observed implements AnswerReceiver {
  readonly #node: PooledNode
  readonly #receiver: AnswerReceiver

  constructor(node: PooledNode, receiver: AnswerReceiver) {
    this.#node = node
    this.#receiver = receiver
  }

  onHead(status: number, headers: readonly string[]): void {
    this.#receiver.onHead(status, headers)
  }

  onData(piece: Buffer): boolean {
    return this.#receiver.onData(piece)
  }

  onEnd(): void {
    if (this.#node.health !== healthy) this.#node.health = healthy
    this.#receiver.onEnd()
  }

  onFailure(failure: UpstreamFailure): void {
    if (failure.kind !== 'aborted') {
      this.#node.health = { failures: this.#node.health.failures + 1, lastFailure: failure.reason }
    }
    this.#receiver.onFailure(failure)
  }
}

export function createNodePools(options: ConnectionPoolOptions): NodePools {
  const nodes = new Map<NodeId, PooledNode>()
  const retired = new Set<Promise<void>>()

  function retire({ pool }: PooledNode): void {
    const ended = pool.close()
    retired.add(ended)
    void ended.then(() => retired.delete(ended))
  }

  return {
    connection(node) {
      const known = nodes.get(node.id)
      if (known !== undefined && known.url === node.url && known.key === node.key) return known
      if (known !== undefined) retire(known)
      const made = new PooledNode(node, options)
      nodes.set(node.id, made)
      return made
    },
    health: (id) => nodes.get(id)?.health ?? healthy,
    async close() {
      for (const node of nodes.values()) retire(node)
      nodes.clear()
      await Promise.all(retired)
    },
  }
}
