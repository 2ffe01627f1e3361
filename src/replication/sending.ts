/** Sends one change to the node, part by part, each with its mark. */
import type { EngineReply } from '../engine/engine.ts'
import type { Payload } from '../journal/change.ts'
import type { LaneChange, LaneJournal } from '../journal/ports.ts'
import { unreachable } from '../lib/assert.ts'
import type { Placement } from '../store/catalogue.ts'
import { type Delivery, isMarked, type Part, payloadByteCount } from './delivery.ts'
import { laneTag, type Mark, markText } from './mark.ts'
import { linesOf } from './ndjson.ts'
import { type NodeSession, send } from './node-session.ts'
import type { OpenChange } from './open-change.ts'

export type Sending =
  | { readonly kind: 'sent'; readonly open: Omit<OpenChange, 'isSingle' | 'byteCount'> }
  /** Some parts may be on the node; the marks tell. */
  | { readonly kind: 'failed' | 'unknown'; readonly reason: string }

export async function sendChange(
  session: NodeSession,
  placement: Placement,
  item: LaneChange,
  delivery: Extract<Delivery, { readonly kind: 'send' }>,
): Promise<Sending> {
  const { position } = item.change
  const { physicalUid } = placement
  const parts: { part: Part; number: number }[] = []
  const numbers: number[] = []
  const tag = laneTag(placement, session.marker)
  let proof = { task: 0, mark: '' }
  for (const [index, part] of delivery.parts.entries()) {
    const mark: Mark = {
      epoch: session.lease.epoch,
      position,
      tag,
      part: index + 1,
      parts: delivery.parts.length,
    }
    const reply = await sendPart(session, physicalUid, item, part, markText(mark))
    if (reply.kind === 'refused') {
      const open = {
        item,
        parts,
        numbers,
        proof: null,
        ends: { error: reply.error },
        sentAt: session.deps.clock.monotonic(),
      }
      return { kind: 'sent', open }
    }
    if (reply.kind !== 'answered') return reply
    parts.push({ part, number: reply.value })
    numbers.push(reply.value)
    proof = { task: reply.value, mark: markText(mark) }
    if (isMarked(part)) continue
    const marked = await sendEmptyMark(session, physicalUid, mark)
    if (marked.kind === 'refused') return { kind: 'failed', reason: `an empty mark was refused: ${marked.error.code}` }
    if (marked.kind !== 'answered') return marked
    numbers.push(marked.value)
    proof = { task: marked.value, mark: markText(mark) }
  }
  const open = { item, parts, numbers, proof, ends: undefined, sentAt: session.deps.clock.monotonic() }
  return { kind: 'sent', open }
}

/** A deletion of nothing: it carries the mark of what cannot (NF-41), and keeps settings changes apart (NF-24). */
export function sendEmptyMark(session: NodeSession, physicalUid: string, mark: Mark): Promise<EngineReply<number>> {
  return send(session, 0, (signal) => session.engine.deleteDocuments(physicalUid, [], markText(mark), signal))
}

async function sendPart(
  session: NodeSession,
  uid: string,
  item: LaneChange,
  part: Part,
  mark: string,
): Promise<EngineReply<number>> {
  const { engine } = session
  const { journal } = session.deps
  switch (part.kind) {
    case 'put': {
      const options = { merge: part.merge, primaryKey: item.primaryKey, mark }
      const size = payloadByteCount(part.payload)
      return send(session, size, (signal) => engine.putDocuments(uid, options, journal.open(part.payload), signal))
    }
    case 'delete': {
      const ids = await readIds(journal, part.payload)
      return send(session, payloadByteCount(part.payload), (signal) => engine.deleteDocuments(uid, ids, mark, signal))
    }
    case 'clear':
      return send(session, 0, (signal) => engine.clearDocuments(uid, mark, signal))
    case 'settings':
      return send(session, 0, (signal) => engine.applySettings(uid, part.settings, signal))
    case 'create-index':
      return send(session, 0, (signal) => engine.createIndex(uid, part.primaryKey, signal))
    case 'update-index':
      return send(session, 0, (signal) => engine.updateIndex(uid, part.primaryKey, signal))
    case 'delete-index':
      return send(session, 0, (signal) => engine.deleteIndex(uid, signal))
    case 'compact-index':
      return send(session, 0, (signal) => engine.compactIndex(uid, signal))
    default:
      return unreachable(part)
  }
}

async function readIds(journal: Pick<LaneJournal, 'open'>, payload: Payload): Promise<readonly string[]> {
  const ids: string[] = []
  for await (const line of linesOf(journal.open(payload))) ids.push(String(JSON.parse(line)))
  return ids
}
