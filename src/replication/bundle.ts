/**
 * Consecutive small changes of a backlog, delivered as one: a request for the deletions, one for the puts and one for the
 * merges of them all, instead of a request, a task and a look for places for each change. Pure.
 *
 * What always holds: the node ends as if it had got the changes one after the other. What is done to one document keeps its
 * order, since deletions go first, then puts, then merges, and a bundle ends before a change that would need another order.
 * Of changes that succeeded already (a replica that was away repeats them), what a later one replaces or deletes is left out
 * instead. When the node refuses anything of it, its changes go out one by one.
 */
import type { Payload } from '../journal/change.ts'
import type { LaneChange } from '../journal/ports.ts'
import { shardOfKey } from '../topology/rendezvous.ts'
import { type Delivery, type Part, partByteCount, planDelivery } from './delivery.ts'
import type { OpenChange } from './open-change.ts'
import { idOfLine } from './shard-lines.ts'
import type { Cut } from './shard-view.ts'

export interface BundleRange {
  readonly from: number
  readonly through: number
}

/** What a change does to one document. */
export interface BundleStep {
  readonly kind: StepKind
  readonly id: string
  readonly position: number
  /** The document, or the id, as JSON. */
  readonly text: string
  /** 0 = the index is plain. */
  readonly shard: number
  /** Where the document stands in its change. */
  readonly line: number
}

export interface Bundle extends BundleRange {
  /** In order; those with nothing for the replica have `ends`. */
  readonly members: readonly { readonly item: LaneChange; readonly ends: OpenChange['ends'] }[]
  readonly delivery: Extract<Delivery, { readonly kind: 'send' }>
  /** In order, with those that are left out. */
  readonly steps: readonly BundleStep[]
  readonly isLeftOut: (step: BundleStep) => boolean
}

export type StepKind = 'delete' | 'put' | 'merge'

/** In this order they are sent. */
const kinds: readonly StepKind[] = ['delete', 'put', 'merge']
const rank = (kind: StepKind): number => kinds.indexOf(kind)
const nothing: Payload = { kind: 'inline', bytes: new Uint8Array() }

/**
 * @param items  changes behind what was sent, in order, all marked as sent in the journal; the first one is to be sent.
 * @returns `undefined` when the first cannot be joined with others.
 */
export function planBundle(items: readonly LaneChange[], cut: Cut): Bundle | undefined {
  if (items.length < 2) return undefined
  const draft = new Draft(cut)
  for (const item of items) if (!draft.add(item)) break
  return draft.bundle()
}

class Draft {
  readonly #cut: Cut
  readonly #members: { readonly item: LaneChange; readonly ends: OpenChange['ends'] }[] = []
  readonly #steps: BundleStep[] = []
  readonly #leftOut = new Set<BundleStep>()
  /** What is sent of each document so far. */
  readonly #kept = new Map<string, readonly BundleStep[]>()
  #byteCount = 0
  /** A deletion whose count its task shows; it has the request for deletions for itself. */
  #isCounted = false

  constructor(cut: Cut) {
    this.#cut = cut
  }

  /** `false` = the bundle ends before this change. */
  add(item: LaneChange): boolean {
    const delivery = planDelivery(item, this.#cut)
    if (delivery.kind === 'skip') {
      if (!mayPassOver(item, delivery.ends)) return false
      this.#members.push({ item, ends: delivery.ends })
      return true
    }
    if (delivery.kind !== 'send' || delivery.isAlone || !this.#isLikeFirst(item)) return false
    const byteCount = delivery.parts.reduce((sum, part) => sum + partByteCount(part), this.#byteCount)
    if (byteCount > this.#cut.sliceBytes) return false
    const steps = stepsOf(item, delivery.parts, this.#cut)
    if (steps === undefined || !this.#mayJoin(item, steps)) return false
    for (const step of steps) this.#join(step, item)
    this.#isCounted ||= isCounted(item)
    this.#byteCount = byteCount
    this.#members.push({ item, ends: undefined })
    return true
  }

  bundle(): Bundle | undefined {
    const last = this.#members.findLastIndex(({ ends }) => ends === undefined)
    const members = this.#members.slice(0, last + 1)
    const sent = members.filter(({ ends }) => ends === undefined)
    const steps = [...this.#kept.values()].flat()
    if (sent.length < 2 || steps.length === 0) return undefined
    const positions = sent.map(({ item }) => item.change.position)
    const parts = kinds.flatMap((kind) => partOf(kind, steps) ?? [])
    const documents = kinds
      .filter((kind) => kind !== 'delete')
      .map((kind) => new Set(steps.filter((step) => step.kind === kind).map(({ id }) => id)).size)
      .reduce((sum, count) => sum + count, 0)
    return {
      from: positions[0]!,
      through: positions.at(-1)!,
      members,
      delivery: { kind: 'send', parts, isAlone: false, documents },
      steps: this.#steps,
      isLeftOut: (step) => this.#leftOut.has(step),
    }
  }

  #isLikeFirst({ change, primaryKey }: LaneChange): boolean {
    const first = this.#members.find(({ ends }) => ends === undefined)?.item
    if (change.status === 'enqueued' || primaryKey === null) return false
    return first === undefined || (isRepeat(first) === isRepeat({ change }) && first.primaryKey === primaryKey)
  }

  #mayJoin(item: LaneChange, steps: readonly BundleStep[]): boolean {
    const isPlain = this.#cut.view === null
    const first = this.#steps[0] ?? steps[0]
    // A plain index shows its documents in the order in which they came.
    if (isPlain && steps.some(({ kind }) => kind !== first?.kind)) return false
    const hasDeletes = (some: readonly BundleStep[]) => some.some(({ kind }) => kind === 'delete')
    if (isCounted(item) && hasDeletes(this.#steps)) return false
    if (this.#isCounted && hasDeletes(steps)) return false
    if (isPlain || isRepeat(item)) return true
    const ranks = new Map<string, number>()
    return steps.every(({ id, kind }) => {
      const before = ranks.get(id) ?? Math.max(-1, ...(this.#kept.get(id) ?? []).map((step) => rank(step.kind)))
      ranks.set(id, rank(kind))
      return before <= rank(kind)
    })
  }

  #join(step: BundleStep, item: LaneChange): void {
    this.#steps.push(step)
    const before = this.#kept.get(step.id) ?? []
    const isReplaced = isRepeat(item) && this.#cut.view !== null && step.kind !== 'merge'
    if (isReplaced) for (const one of before) this.#leftOut.add(one)
    this.#kept.set(step.id, isReplaced ? [step] : [...before, step])
  }
}

/** It ended well before: whoever delivers it again comes to the same. */
function isRepeat({ change }: Pick<LaneChange, 'change'>): boolean {
  return change.status === 'succeeded'
}

/** What it removed is known from its task alone. */
function isCounted({ change }: LaneChange): boolean {
  return change.operation.kind === 'documents-delete' && !isRepeat({ change })
}

/** What failed on nodes ends a bundle: its mark would say that some of it is here. What was refused before never is. */
function mayPassOver({ change }: LaneChange, ends: OpenChange['ends']): boolean {
  return change.refusal !== null || change.status === 'canceled' || ends?.error === null
}

/** `undefined` = too large to be looked into. */
function stepsOf(
  { change: { position }, primaryKey }: LaneChange,
  parts: readonly Part[],
  { view }: Cut,
): readonly BundleStep[] | undefined {
  const steps: BundleStep[] = []
  for (const part of parts) {
    const kind = stepKind(part)
    if (part.kind !== 'put' && part.kind !== 'delete') return undefined
    if (kind === undefined || part.payload.kind !== 'inline' || (part.kind === 'put' && part.slices > 1))
      return undefined
    let line = part.kind === 'put' ? part.firstLine : 0
    for (const text of new TextDecoder().decode(part.payload.bytes).split('\n')) {
      if (text.trim() === '') continue
      const id = kind === 'delete' ? (JSON.parse(text) as string) : idOfLine(text, primaryKey ?? '')
      const shard = view === null ? 0 : shardOfKey(id, view.shards)
      if (view === null || view.own.has(shard)) steps.push({ kind, id, position, text, shard, line })
      line += 1
    }
  }
  return steps
}

/** `undefined` = it is about more than single documents. */
export function stepKind(part: Part): StepKind | undefined {
  if (part.kind === 'put') return part.merge ? 'merge' : 'put'
  return part.kind === 'delete' ? 'delete' : undefined
}

function partOf(kind: StepKind, steps: readonly BundleStep[]): Part | undefined {
  const texts = steps.filter((step) => step.kind === kind).map(({ text }) => text)
  if (texts.length === 0) return undefined
  const bytes = Buffer.from(`${texts.join('\n')}\n`)
  if (kind === 'delete') return { kind, payload: { kind: 'inline', bytes } }
  // What is sent is made of the steps, with the places that hold then.
  const byteCount = bytes.byteLength
  return { kind: 'put', merge: kind === 'merge', payload: nothing, slice: 0, slices: 1, byteCount, firstLine: 0 }
}
