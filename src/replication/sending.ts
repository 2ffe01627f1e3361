/** Sends one change, or a bundle of them, to the node, part by part, each with its mark. */
import type { EngineReply, EngineTask } from '../engine/engine.ts'
import type { LaneChange, LaneProof } from '../journal/ports.ts'
import { unreachable } from '../lib/assert.ts'
import type { Placement } from '../store/catalogue.ts'
import type { BundleRange } from './bundle.ts'
import { type Delivery, isMarked, type Part, partByteCount } from './delivery.ts'
import { laneTag, type Mark, markText } from './mark.ts'
import { type NodeSession, send } from './node-session.ts'
import type { OpenChange } from './open-change.ts'
import type { Payloads } from './part-payloads.ts'
import type { Ticket } from './send-window.ts'

export type Sending =
  | { readonly kind: 'sent'; readonly open: Omit<OpenChange, 'isSingle'> }
  /** Some parts may be on the node; the marks tell. */
  | { readonly kind: 'failed' | 'unknown'; readonly reason: string }
  /** The lane stopped while it waited for room. */
  | { readonly kind: 'halted' }
  /** While it waited for room, what it was to send became another. Nothing was sent. */
  | { readonly kind: 'outdated' }

export interface SendingDeps {
  readonly session: NodeSession
  readonly placement: Placement
  /** Ends the wait for room, not a request. */
  readonly flow: AbortSignal
  readonly isOutdated: () => boolean
}

/** What goes out with one position, or with several. */
export interface Shipment {
  /** The first change of it. */
  readonly item: LaneChange
  readonly range: BundleRange
  readonly delivery: Extract<Delivery, { readonly kind: 'send' }>
  readonly payloads: Payloads
}

export async function sendShipment(
  { session, placement, flow, isOutdated }: SendingDeps,
  { item, range, delivery, payloads }: Shipment,
): Promise<Sending> {
  const { physicalUid } = placement
  const { deps, window } = session
  const parts: { part: Part; number: number }[] = []
  const numbers: number[] = []
  const tag = laneTag(placement, session.marker)
  const opened = (proof: LaneProof | null, ends: OpenChange['ends']) => {
    const { documents } = delivery
    const bundle = range.through > range.from ? range : null
    return { item, parts, numbers, proof, ends, documents, bundle, sentAt: deps.clock.monotonic() }
  }
  let proof: LaneProof | null = null
  let isWhole = false
  try {
    for (const [index, part] of delivery.parts.entries()) {
      const ticket = await window.acquire(tag, partByteCount(part), flow)
      if (ticket === undefined) return { kind: 'halted' }
      if (index === 0 && isOutdated()) {
        ticket.release(undefined)
        return { kind: 'outdated' }
      }
      const { epoch } = session.lease
      const place = { position: range.through, from: range.from, tag }
      const mark: Mark = { epoch, ...place, part: index + 1, parts: delivery.parts.length }
      const reply = await sendPart({ session, uid: physicalUid, payloads, ticket }, item, part, markText(mark))
      if (reply.kind !== 'answered') ticket.release(undefined)
      if (reply.kind === 'refused') {
        isWhole = true
        return { kind: 'sent', open: opened(null, { error: reply.error }) }
      }
      if (reply.kind !== 'answered') return reply
      deps.metrics.sent(placement.node, partByteCount(part))
      parts.push({ part, number: reply.value })
      numbers.push(reply.value)
      proof = { task: reply.value, mark: markText(mark) }
      if (isMarked(part)) continue
      const marked = await sendEmptyMark(session, physicalUid, mark)
      if (marked.kind === 'refused')
        return { kind: 'failed', reason: `an empty mark was refused: ${marked.error.code}` }
      if (marked.kind !== 'answered') return marked
      numbers.push(marked.value)
      proof = { task: marked.value, mark: markText(mark) }
    }
    isWhole = true
  } finally {
    await payloads.close()
    if (!isWhole) session.watch.forget(numbers)
  }
  return { kind: 'sent', open: opened(proof, undefined) }
}

/** A deletion of nothing: it carries the mark of what cannot (NF-41), and keeps settings changes apart (NF-24). */
export function sendEmptyMark(session: NodeSession, physicalUid: string, mark: Mark): Promise<EngineReply<number>> {
  return send(session, 0, (signal) => session.engine.deleteDocuments(physicalUid, [], markText(mark), signal))
}

const noIds: readonly [] = []

interface PartDeps {
  readonly session: NodeSession
  readonly uid: string
  readonly payloads: Payloads
  readonly ticket: Ticket
}

async function sendPart(
  { session, uid, payloads, ticket }: PartDeps,
  item: LaneChange,
  part: Part,
  mark: string,
): Promise<EngineReply<number>> {
  const { engine } = session
  const release = (task: EngineTask | undefined) => ticket.release(task)
  const write = (call: (signal: AbortSignal) => Promise<EngineReply<number>>) =>
    send(session, partByteCount(part), call, release)
  switch (part.kind) {
    case 'put': {
      const chunks = await payloads.documents(part)
      if (chunks === undefined) return write((signal) => engine.deleteDocuments(uid, [], mark, signal))
      const options = { merge: part.merge, primaryKey: item.primaryKey, mark }
      return write((signal) => engine.putDocuments(uid, options, chunks, signal))
    }
    case 'delete': {
      const ids = (await payloads.ids(part.payload)) ?? noIds
      return write((signal) => engine.deleteDocuments(uid, ids, mark, signal))
    }
    case 'clear':
      return write((signal) => engine.clearDocuments(uid, mark, signal))
    case 'settings':
      return write((signal) => engine.applySettings(uid, part.settings, signal))
    case 'create-index':
      return write((signal) => engine.createIndex(uid, part.primaryKey, signal))
    case 'update-index':
      return write((signal) => engine.updateIndex(uid, part.primaryKey, signal))
    case 'delete-index':
      return write((signal) => engine.deleteIndex(uid, signal))
    case 'compact-index':
      return write((signal) => engine.compactIndex(uid, signal))
    default:
      return unreachable(part)
  }
}
