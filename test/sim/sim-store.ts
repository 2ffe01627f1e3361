/**
 * The journal of the simulator: appended changes, leases, placements, in memory and durable by definition. It answers
 * through `LaneJournal` as a process sees it: late, sometimes not at all, sometimes with the answer lost after the commit.
 */
import { foldSettings } from '../../src/api/settings.ts'
import type { Change, Operation, Payload, Resolution } from '../../src/journal/change.ts'
import type {
  ChangeOutcome,
  CompletedSettings,
  LaneChange,
  LaneJournal,
  LaneProof,
  LaneState,
  NodeLease,
} from '../../src/journal/ports.ts'
import { assert } from '../../src/lib/assert.ts'
import type { Random } from '../../src/lib/random.ts'
import type { Node, Placement } from '../../src/store/catalogue.ts'
import { StoreUnavailable } from '../../src/store/ports.ts'
import { type Scheduler, startOfTime } from './scheduler.ts'

type Stored = Change & { readonly index: string; readonly position: number }

export interface StoredIndex {
  readonly id: string
  readonly uid: string
  placement: Placement
  proof: LaneProof | null
  readonly changes: Stored[]
  isGone: boolean
}

interface StoredNode {
  readonly node: Node
  worker: string | null
  epoch: number
  until: number
  marker: string | null
  sinceEpoch: number
}

export type LaneSide = Pick<
  LaneJournal,
  | 'leaseNodes'
  | 'releaseNodes'
  | 'noteTrouble'
  | 'lanesBehind'
  | 'laneOn'
  | 'read'
  | 'completedSettings'
  | 'standingsOn'
  | 'open'
  | 'stage'
  | 'markSent'
  | 'recordResolution'
  | 'advance'
  | 'identity'
  | 'adopt'
  | 'restart'
  | 'waitForWork'
>

export interface StoreFaults {
  unavailable: number
  lostReply: number
}

export class SimStore {
  readonly #scheduler: Scheduler
  readonly #trace: (text: string) => void
  readonly indexes: StoredIndex[] = []
  readonly #nodes = new Map<string, StoredNode>()
  readonly #names = new Map<string, StoredIndex>()
  readonly #listeners = new Set<() => void>()
  #tasks = 0

  constructor(scheduler: Scheduler, trace: (text: string) => void, nodes: readonly Node[]) {
    this.#scheduler = scheduler
    this.#trace = trace
    for (const node of nodes) {
      this.#nodes.set(node.id, { node, worker: null, epoch: 0, until: 0, marker: null, sinceEpoch: 0 })
    }
  }

  // ---- What clients do ----

  append(uid: string, node: string, operation: Operation, payload: Payload | null): Stored {
    const index = this.#names.get(uid) ?? this.#create(uid, node)
    const change: Stored = {
      project: 'p',
      task: this.#tasks,
      index: index.id,
      position: index.changes.length + 1,
      indexUid: uid,
      operation,
      payload,
      refusal: null,
      resolution: null,
      customMetadata: null,
      status: 'enqueued',
      error: null,
      details: null,
      batch: null,
      canceledBy: null,
      enqueuedAt: this.#time(),
      startedAt: null,
      finishedAt: null,
    }
    this.#tasks += 1
    index.changes.push(change)
    if (operation.kind === 'index-delete') this.#names.delete(uid)
    const text = payload?.kind === 'inline' ? Buffer.from(payload.bytes).toString().replaceAll('\n', ' ') : ''
    this.#trace(`append ${index.id} ${change.position} ${JSON.stringify(operation)} ${text}`)
    for (const listener of [...this.#listeners]) listener()
    return change
  }

  refuse(change: Stored): void {
    this.#replace({
      ...change,
      refusal: { message: 'refused', code: 'bad_request', type: 'invalid_request', link: '' },
    })
  }

  cancel(index: StoredIndex, position: number): void {
    const change = index.changes[position - 1]!
    if (change.status !== 'enqueued' || change.startedAt !== null || change.operation.kind === 'index-delete') return
    this.#trace(`cancel ${index.id} ${position}`)
    this.#replace({ ...change, status: 'canceled', finishedAt: this.#time() })
  }

  get isSettled(): boolean {
    return this.indexes.every(({ changes, placement, isGone }) => isGone || placement.applied === changes.length)
  }

  #create(uid: string, node: string): StoredIndex {
    const number = this.indexes.length + 1
    const placement: Placement = {
      index: `i${number}`,
      generation: 1,
      shards: [0],
      revision: 0,
      node,
      physicalUid: `p_${uid}_${number}`,
      state: 'active',
      applied: 0,
    }
    const index: StoredIndex = { id: placement.index, uid, placement, proof: null, changes: [], isGone: false }
    this.indexes.push(index)
    this.#names.set(uid, index)
    return index
  }

  #replace(change: Stored): void {
    this.#index(change.index).changes[change.position - 1] = change
  }

  #index(id: string): StoredIndex {
    const index = this.indexes.find((one) => one.id === id)
    assert(index, `no index ${id}`)
    return index
  }

  #time(): number {
    return startOfTime + Math.floor(this.#scheduler.now)
  }

  #holds({ node, epoch }: NodeLease): boolean {
    return this.#nodes.get(node.id)?.epoch === epoch
  }

  // ---- What a worker sees ----

  side(options: { readonly random: Random; readonly faults: StoreFaults; readonly isDead: () => boolean }): LaneSide {
    const { random, faults, isDead } = options
    const scheduler = this.#scheduler

    function commit<T>(execute: () => T): Promise<T> {
      return new Promise((resolve, reject) => {
        if (isDead()) return
        const luck = random.float()
        scheduler.after(random.integer(3), () => {
          if (isDead()) return
          if (luck < faults.unavailable) return reject(new StoreUnavailable('the store is away'))
          let value: T
          try {
            value = execute()
          } catch (error) {
            return reject(error)
          }
          if (luck > 1 - faults.lostReply) return reject(new StoreUnavailable('the answer was lost'))
          scheduler.after(1, () => {
            if (!isDead()) resolve(value)
          })
        })
      })
    }

    return {
      leaseNodes: (worker, leaseMs) => commit(() => this.#lease(worker, leaseMs)),
      releaseNodes: (worker) =>
        commit(() => {
          for (const node of this.#nodes.values()) if (node.worker === worker) node.worker = null
        }),
      noteTrouble: (lease, trouble) =>
        commit(() => {
          this.#trace(`trouble ${lease.node.id} ${trouble}`)
          return this.#holds(lease)
        }),
      lanesBehind: (node, limit) =>
        commit(() =>
          this.indexes
            .filter(
              ({ placement, changes, isGone }) =>
                !isGone && placement.node === node && placement.applied < changes.length,
            )
            .slice(0, limit)
            .map(laneState),
        ),
      laneOn: (node, physicalUid) =>
        commit(() => {
          const index = this.indexes.find(
            ({ placement, isGone }) => !isGone && placement.node === node && placement.physicalUid === physicalUid,
          )
          return index && laneState(index)
        }),
      read: (index, after, limit) =>
        commit(() =>
          this.#index(index)
            .changes.slice(after, after + limit)
            .map((change): LaneChange => ({ change, settings: null, primaryKey: 'id', partials: [] })),
        ),
      standingsOn: (node, physicalUids) =>
        commit(() =>
          this.indexes
            .filter(({ placement, isGone }) => !isGone && placement.node === node)
            .filter(({ placement }) => physicalUids.includes(placement.physicalUid))
            .map(({ placement: { physicalUid, applied }, proof }) => ({
              physicalUid,
              applied,
              proof: proof?.task ?? null,
            })),
        ),
      completedSettings: (index) => commit(() => completedSettings(this.#index(index))),
      async *open(payload) {
        assert(payload.kind === 'inline', 'payloads of the simulator are inline')
        await commit(() => {})
        yield payload.bytes
      },
      stage: async (chunks) => {
        const parts: Uint8Array[] = []
        for await (const chunk of chunks) parts.push(chunk)
        return commit(() => ({ kind: 'inline', bytes: new Uint8Array(Buffer.concat(parts)) }))
      },
      markSent: (lease, index, positions, startedAt) =>
        commit(() => {
          if (!this.#holds(lease)) return false
          const allowed = positions.filter(
            (position) => this.#index(index).changes[position - 1]!.status !== 'canceled',
          )
          for (const position of allowed) {
            const change = this.#index(index).changes[position - 1]!
            if (change.status === 'enqueued') this.#replace({ ...change, status: 'processing', startedAt })
          }
          return allowed
        }),
      recordResolution: (lease, index, position, resolution) =>
        commit(() => {
          if (!this.#holds(lease)) return false
          this.#record(index, position, resolution)
          return true
        }),
      advance: (lease, placement, applied, outcomes, proof) =>
        commit(() => this.#holds(lease) && this.#advance(placement, applied, outcomes, proof)),
      identity: (lease) =>
        commit(() => {
          if (!this.#holds(lease)) return false
          const { marker, sinceEpoch } = this.#nodes.get(lease.node.id)!
          const proofs = this.indexes.flatMap((one) =>
            one.placement.node === lease.node.id && !one.isGone ? (one.proof ?? []) : [],
          )
          const proof = proofs.sort((a, b) => b.task - a.task)[0] ?? null
          return { marker, sinceEpoch, proof }
        }),
      adopt: (lease, marker) =>
        commit(() => {
          if (!this.#holds(lease)) return false
          const node = this.#nodes.get(lease.node.id)!
          node.marker = marker
          node.sinceEpoch = lease.epoch
          for (const index of this.indexes) {
            if (index.placement.node !== lease.node.id) continue
            index.placement = { ...index.placement, applied: 0 }
            index.proof = null
          }
          this.#trace(`adopt ${lease.node.id} ${lease.epoch}`)
          return true
        }),
      restart: (lease, placement) =>
        commit(() => {
          if (!this.#holds(lease)) return false
          const index = this.#index(placement.index)
          index.placement = { ...index.placement, applied: 0 }
          index.proof = null
          this.#trace(`restart ${index.id}`)
          return true
        }),
      waitForWork: (_node, timeoutMs, signal) =>
        new Promise((resolve) => {
          const end = () => {
            cancel()
            this.#listeners.delete(end)
            signal.removeEventListener('abort', end)
            if (!isDead()) resolve()
          }
          const cancel = scheduler.after(timeoutMs, end)
          this.#listeners.add(end)
          signal.addEventListener('abort', end, { once: true })
        }),
    }
  }

  #lease(worker: string, leaseMs: number): NodeLease[] {
    const now = this.#scheduler.now
    const held: NodeLease[] = []
    for (const node of this.#nodes.values()) {
      if (node.worker !== worker) {
        if (node.worker !== null && node.until > now) continue
        node.epoch += 1
        node.worker = worker
        this.#trace(`lease ${node.node.id} ${worker} ${node.epoch}`)
      }
      node.until = now + leaseMs
      held.push({ node: node.node, epoch: node.epoch })
    }
    return held
  }

  #record(index: string, position: number, resolution: Resolution): void {
    const change = this.#index(index).changes[position - 1]!
    this.#trace(
      `resolve ${index} ${position} ${resolution.putCount} ${resolution.deleteCount} ${resolution.error?.code ?? ''}`,
    )
    if (change.resolution === null) this.#replace({ ...change, resolution })
  }

  #advance(
    placement: Placement,
    applied: number,
    outcomes: readonly ChangeOutcome[],
    proof: LaneProof | null,
  ): boolean {
    const index = this.#index(placement.index)
    for (const { position, status, error, details, startedAt, finishedAt } of outcomes) {
      const change = index.changes[position - 1]!
      assert(position <= applied, 'an outcome beyond what is applied')
      if (change.finishedAt !== null) continue
      assert(change.enqueuedAt <= startedAt && startedAt <= finishedAt, 'times of a task are in order')
      this.#replace({ ...change, status, error, details, startedAt, finishedAt })
      if (change.operation.kind === 'index-delete' && status === 'succeeded') index.isGone = true
    }
    const open = index.changes.slice(0, applied).find(({ finishedAt }) => finishedAt === null)
    assert(open === undefined, `applied ${applied} of ${index.id} passes the open change ${open?.position}`)
    if (applied > index.placement.applied) index.placement = { ...index.placement, applied }
    if (proof !== null && proof.task > (index.proof?.task ?? -1)) index.proof = proof
    this.#trace(`advance ${index.id} ${applied} ${outcomes.map(({ status }) => status[0]).join('')}`)
    return true
  }
}

function laneState({ placement, changes }: StoredIndex): LaneState {
  return { placement, spread: null, project: 'p', head: changes.length, primaryKey: null, pendingBytes: 0 }
}

function completedSettings({ changes }: StoredIndex): CompletedSettings {
  const first = changes.findIndex(({ finishedAt }) => finishedAt === null)
  const completed = first < 0 ? changes.length : first
  const settings = changes
    .slice(0, completed)
    .flatMap(({ status, operation }) =>
      status === 'succeeded' && operation.kind === 'settings' ? [operation.settings] : [],
    )
    .reduce(foldSettings, {})
  return { completed, position: 0, settings }
}
