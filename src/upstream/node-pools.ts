/**
 * Connections to nodes: one bounded pool for each, kept alive, replaced when a node's address changes. Health is passive:
 * what requests met is remembered and told, nothing is probed here.
 */
import type { Clock } from '../lib/clock.ts'
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
  /** It refused our key (P-22), and has accepted none since: its answers are not to be had, whatever else it says. */
  readonly isSuspect: boolean
}

export interface NodeConnection {
  send(request: NodeRequest, receiver: AnswerReceiver): PendingAnswer
}

export interface NodePools {
  /** Requests carry the key that is given with the node, which may differ from one to the next. */
  connection(node: Node): NodeConnection
  health(id: NodeId): NodeHealth
  /** Ends idle connections and, when they are done, busy ones. */
  close(): Promise<void>
}

const healthy: NodeHealth = { failures: 0, lastFailure: undefined, isSuspect: false }

/** A pool and what it met. */
class PooledNode {
  readonly id: NodeId
  readonly url: string
  readonly pool: ConnectionPool
  readonly onRefusal: (node: NodeId, isNews: boolean) => void
  readonly listener: NodeListener | undefined
  readonly clock: Pick<Clock, 'monotonic'>
  health: NodeHealth = healthy

  constructor(node: Node, { onRefusal = () => undefined, listener, ...options }: NodePoolsOptions) {
    this.id = node.id
    this.url = node.url
    this.pool = new ConnectionPool(new URL(node.url), undefined, options)
    this.onRefusal = onRefusal
    this.listener = listener
    this.clock = options.clock
  }
}

/** Requests of one project share connections with those of others: only what they carry differs. */
class KeyedNode implements NodeConnection {
  readonly #node: PooledNode
  readonly #key: string | null

  constructor(node: PooledNode, key: string | null) {
    this.#node = node
    this.#key = key
  }

  send(request: NodeRequest, receiver: AnswerReceiver): PendingAnswer {
    const { pool } = this.#node
    const observed = new Observed(this.#node, receiver)
    if (this.#key === null) return pool.send(request, observed)
    const headers = ['authorization', `Bearer ${this.#key}`, ...request.headers]
    return pool.send({ ...request, headers }, observed)
  }
}

/** Passes an answer on, and notes how it ended. */
class Observed implements AnswerReceiver {
  readonly #node: PooledNode
  readonly #receiver: AnswerReceiver
  readonly #sentAt: number
  #isRefused = false

  constructor(node: PooledNode, receiver: AnswerReceiver) {
    this.#node = node
    this.#receiver = receiver
    this.#sentAt = node.clock.monotonic()
  }

  onHead(status: number, headers: readonly string[]): void {
    this.#isRefused = status === 401 || status === 403
    this.#receiver.onHead(status, headers)
  }

  onData(piece: Buffer): boolean {
    return this.#receiver.onData(piece)
  }

  onWhole(body: Buffer): void {
    if (this.#receiver.onWhole !== undefined) this.#receiver.onWhole(body)
    else this.#receiver.onData(Buffer.from(body))
  }

  onEnd(): void {
    const node = this.#node
    if (this.#isRefused) {
      const { failures, isSuspect } = node.health
      node.health = { failures: failures + 1, lastFailure: 'it refuses our key', isSuspect: true }
      node.onRefusal(node.id, !isSuspect)
    } else if (node.health !== healthy) node.health = healthy
    node.listener?.answered(node.id)
    this.#receiver.onEnd()
  }

  onFailure(failure: UpstreamFailure): void {
    if (failure.kind !== 'aborted') {
      const { id, listener, health } = this.#node
      this.#node.health = { ...health, failures: health.failures + 1, lastFailure: failure.reason }
      if (failure.kind === 'timed-out') listener?.suspected(id)
      else listener?.failed(id, this.#sentAt)
    }
    this.#receiver.onFailure(failure)
  }
}

/** Hears how live requests end (C-04). */
export interface NodeListener {
  /** It answered, whatever with. */
  answered(node: NodeId): void
  /** Its connection failed. `sentAt`: of the request, on the monotonic clock. */
  failed(node: NodeId, sentAt: number): void
  /** It let a request wait too long. */
  suspected(node: NodeId): void
}

export interface NodePoolsOptions extends ConnectionPoolOptions {
  readonly listener?: NodeListener
  /** A node answered 401 or 403; `isNews`: it had not before. */
  readonly onRefusal?: (node: NodeId, isNews: boolean) => void
}

export function createNodePools(options: NodePoolsOptions): NodePools {
  const nodes = new Map<NodeId, PooledNode>()
  const retired = new Set<Promise<void>>()

  function retire({ pool }: PooledNode): void {
    const ended = pool.close()
    retired.add(ended)
    void ended.then(() => retired.delete(ended))
  }

  return {
    connection(node) {
      const { key } = node
      const known = nodes.get(node.id)
      if (known !== undefined && known.url === node.url) return new KeyedNode(known, key)
      if (known !== undefined) retire(known)
      const made = new PooledNode(node, options)
      nodes.set(node.id, made)
      return new KeyedNode(made, key)
    },
    health: (id) => nodes.get(id)?.health ?? healthy,
    async close() {
      for (const node of nodes.values()) retire(node)
      nodes.clear()
      await Promise.all(retired)
    },
  }
}
