/** A project with a node and a worker on some store: what the journal's tests talk to. */
import assert from 'node:assert/strict'
import type { TaskView } from '../../src/api/tasks.ts'
import type { Operation } from '../../src/journal/change.ts'
import type { Store } from '../../src/journal/open-store.ts'
import type { AppendOutcome, AppendRequest, ChangeOutcome, LaneState, NodeLease } from '../../src/journal/ports.ts'
import type { Project } from '../../src/store/catalogue.ts'

export type Appended = Extract<AppendOutcome, { kind: 'appended' }>

export class World {
  readonly store: Store
  readonly project: Project
  readonly lease: NodeLease

  constructor(store: Store, project: Project, lease: NodeLease) {
    this.store = store
    this.project = project
    this.lease = lease
  }

  static async open(store: Store): Promise<World> {
    const organisation = await store.catalogue.createOrganisation('Acme')
    const project = await store.catalogue.createProject({ organisation: organisation.id, name: 'books' })
    await store.catalogue.putNode({
      id: 'n1',
      engine: 'embedded',
      url: 'http://n1',
      region: 'local',
      key: 'node-secret',
    })
    const [lease] = await store.laneJournal.leaseNodes('worker', 60_000)
    assert(lease)
    return new World(store, project, lease)
  }

  request(uid: string | null, operation: Operation, more: Partial<AppendRequest> = {}): AppendRequest {
    return {
      project: this.project.id,
      uid,
      operation,
      payload: null,
      customMetadata: null,
      mayCreateIndex: true,
      refusal: null,
      ...more,
    }
  }

  async append(uid: string | null, operation: Operation, more: Partial<AppendRequest> = {}): Promise<Appended> {
    const outcome = await this.store.journal.append(this.request(uid, operation, more))
    assert(outcome.kind === 'appended', `the append was ${outcome.kind}`)
    return outcome
  }

  put(uid: string, more: Partial<AppendRequest> = {}): Promise<Appended> {
    return this.append(uid, put, { payload: { kind: 'inline', bytes: line }, inferred: { primaryKey: 'id' }, ...more })
  }

  async lanes(): Promise<readonly LaneState[]> {
    return this.store.laneJournal.lanesBehind('n1', 100)
  }

  async laneOf(index: string | null): Promise<LaneState> {
    const lane = (await this.lanes()).find(({ placement }) => placement.index === index)
    assert(lane, 'the index has a lane that is behind')
    return lane
  }

  /** Delivers everything of an index up to `through` (default: its head); `fail` positions fail. */
  async deliver(index: string | null, options: { through?: number; fail?: readonly number[] } = {}): Promise<void> {
    const { placement, head } = await this.laneOf(index)
    const through = options.through ?? head
    const changes = await this.store.laneJournal.read(placement.index, placement.applied, 1_000, 1e9)
    const wanted = changes.filter(({ change }) => change.position <= through && change.status !== 'canceled')
    const positions = wanted.map(({ change }) => change.position)
    await this.store.laneJournal.markSent(this.lease, placement.index, positions, 1_000)
    const outcomes = wanted
      .filter(({ change }) => change.refusal === null)
      .map(({ change }) => outcomeAt(change.position, options.fail?.includes(change.position) ?? false))
    assert.equal(await this.store.laneJournal.advance(this.lease, placement, through, outcomes, null), true)
  }

  async deliverAll(): Promise<void> {
    for (const { placement } of await this.lanes()) await this.deliver(placement.index)
  }

  async task(task: number): Promise<TaskView> {
    const view = await this.store.journal.task(this.project.id, task)
    assert(view, `task ${task} exists`)
    return view
  }

  /** Names as reads see them. */
  async names(): Promise<Record<string, string>> {
    const { indexes } = await this.store.catalogue.snapshot()
    return Object.fromEntries(indexes.map(({ uid, id }) => [uid, id]).sort())
  }

  async cancel(...tasks: number[]): Promise<TaskView> {
    const { task } = await this.append(null, { kind: 'task-cancel', filter: '?uids=1', tasks })
    return this.task(task)
  }
}

export const line = Buffer.from('{"id":1}\n')

export const put: Extract<Operation, { kind: 'documents-put' }> = {
  kind: 'documents-put',
  merge: false,
  skipCreation: false,
  primaryKey: null,
  received: 1,
  distinct: 1,
}

export const refusal = { message: 'no', code: 'invalid_document_id', type: 'invalid_request', link: 'x' } as const

export function outcomeAt(position: number, isFailed = false): ChangeOutcome {
  return {
    position,
    status: isFailed ? 'failed' : 'succeeded',
    error: isFailed ? refusal : null,
    details: null,
    isShare: false,
    startedAt: 2_000,
    finishedAt: 2_033,
    batchKey: 'batch',
  }
}

export function bytesOf(...chunks: readonly Uint8Array[]): AsyncIterable<Uint8Array> {
  return (async function* () {
    yield* chunks
  })()
}

export async function textOf(bytes: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of bytes) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}
