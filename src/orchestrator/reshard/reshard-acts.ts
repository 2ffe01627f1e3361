/**
 * What is done at each step of a reshard: a move of a whole index into another generation of placements. The steps are those of
 * `move-steps.ts`; every act may be cut off anywhere and begun again.
 *
 * The generation that is read is not touched before `switching`, and goes on taking every change until the move is closed, so
 * that undoing is the same switch the other way round. One transaction changes which of the two is read.
 */
import type { IndexStanding } from '../../journal/ports.ts'
import type { Spread } from '../../store/catalogue.ts'
import type { MoveEvent, MoveStep } from '../../topology/move-steps.ts'
import { replicaId } from '../../topology/replica-id.ts'
import { compareSides } from '../moves/comparison.ts'
import {
  dropIndex,
  isWhole,
  MoveFailure,
  markCopied,
  type Place,
  placeOf,
  type Replica,
  type StepContext,
} from '../moves/move-context.ts'
import { areInOrder } from '../moves/source-order.ts'
import {
  attemptsMax,
  diskOf,
  isHeldBy,
  isKeptLongEnough,
  isNear,
  isTakenOver,
  leave,
  letGatewaysIn,
} from '../moves/step-acts.ts'
import { createCopied, isDeleted } from '../moves/streamed-copy.ts'
import { documentsOf } from '../project-documents.ts'
import { copyGeneration, copyPlain } from './generation-copy.ts'
import { generationSide, layersOf } from './generation-side.ts'
import { isSameSpread } from './open-reshard.ts'

type Act = (context: StepContext, standing: IndexStanding) => Promise<MoveEvent | undefined>

/** How the new generation lies. */
function wantedSpread({ move }: StepContext): Spread | null {
  return move.options.reshard?.spread ?? null
}

function ofGeneration({ replicas }: IndexStanding, number: number | undefined): readonly Replica[] {
  return replicas.filter(({ generation }) => generation === number)
}

/** Of the generation that the move makes, while it is not the one that is read. */
const fresh = (context: StepContext, standing: IndexStanding) =>
  ofGeneration(standing, context.move.progress.generation)

async function plan(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const { move, replicas, keep } = context
  if ((move.progress.attempts ?? 0) >= attemptsMax) throw new MoveFailure(`${attemptsMax} copies came to nothing`)
  if (standing.beside === null) {
    const outcome = await replicas.changeGeneration(move.index, { kind: 'add', spread: wantedSpread(context) })
    if (outcome === 'needed') throw new MoveFailure('no node takes indexes')
    if (outcome === 'unsuited') throw new MoveFailure('the index takes no other generation now')
    return undefined
  }
  if (!isSameSpread(standing.beside.spread, wantedSpread(context)))
    throw new MoveFailure('another generation of the index is beside it')
  await keep({ generation: standing.beside.number })
  return 'done'
}

async function copy(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const { move, replicas, keep } = context
  const targets = fresh(context, standing)
  if (targets.length === 0) return 'lost'
  if (targets.every(({ state }) => state === 'standby')) return 'done'
  if (targets.some(({ state }) => state !== 'standby' && state !== 'copying')) return 'lost'
  const disk = disksOf(targets)
  if (move.progress.disk !== undefined && move.progress.disk !== disk) return 'lost'
  const places = await Promise.all(targets.map((replica) => placeOf(context, replica)))
  if (move.progress.disk === undefined) for (const place of places) await dropIndex(context, place)
  const how = move.progress.copy ?? (standing.spread === null ? 'journal' : 'streamed')
  await keep({ disk, copy: how })
  if (how === 'streamed' && context.move.progress.trueFrom === undefined) {
    if (!(await stream(context, standing, places))) return 'lost'
  }
  const { from = 0 } = context.move.progress
  if (how === 'journal') await keep({ from, trueFrom: standing.head })
  for (const place of places) {
    if (place.replica.state === 'standby') continue
    const change = { kind: 'begin', applied: from, proof: await markCopied(context, place, from) } as const
    if ((await replicas.changeReplica(move.index, replicaId(place.replica), change)) !== 'done') return 'lost'
  }
  return 'done'
}

/**
 * `false` = a replica that was copied from began anew meanwhile, and what was read of it may be of long ago; or an index that was
 * being filled is gone.
 */
async function stream(context: StepContext, standing: IndexStanding, targets: readonly Place[]): Promise<boolean> {
  const { move, replicas, journal, keep, clock } = context
  const { spread: own } = standing
  if (own === null) throw new MoveFailure('a plain index is resharded from its journal')
  const spread = wantedSpread(context)
  if (move.progress.from === undefined) {
    const { completed, settings } = await journal.completedSettings(move.index)
    const primaryKey = (await replicas.standing(move.index))?.primaryKey ?? null
    for (const target of targets) await createCopied(context, target, spread, primaryKey, settings)
    await keep({ from: completed, documents: 0, bytes: 0, copyStartedAt: clock.now() })
  }
  for (const target of targets) if (await isDeleted(context, target)) return false
  const { primaryKey } = (await replicas.standing(move.index)) ?? standing
  const { from = 0 } = context.move.progress
  const sources = ofGeneration(standing, standing.generation).filter((replica) => isWhole(replica, from))
  // One that was being built anew when the copy began may be whole by now.
  const found = sources.map((replica) => [replicaId(replica), replica.revision] as const)
  const revisions = { ...Object.fromEntries(found), ...context.move.progress.revisions }
  if (haveBegunAnew(standing, revisions)) return false
  await keep({ revisions })
  const places = await Promise.all(sources.map((replica) => placeOf(context, replica)))
  if (primaryKey !== null && spread !== null) {
    const [legs] = layersOf(own, places)
    if (legs === undefined) throw new Error('some shards have no replica that is read')
    await copyGeneration(context, { spread: own, legs }, { spread, places: targets }, primaryKey)
  } else if (primaryKey !== null) {
    const [target] = targets
    if (target !== undefined) await copyPlain(context, await inOrder(context, standing, places), target, primaryKey)
  }
  const after = await replicas.standing(move.index)
  if (after !== undefined && haveBegunAnew(after, revisions)) return false
  await keep({ trueFrom: after?.head ?? 0 })
  return true
}

function haveBegunAnew({ replicas }: IndexStanding, revisions: Readonly<Record<string, number>>): boolean {
  return replicas.some((replica) => (revisions[replicaId(replica)] ?? replica.revision) !== replica.revision)
}

/** Documents as clients see them, in the order of the index. */
async function inOrder(
  { catalogue, signal, move }: StepContext,
  { uid, primaryKey, spread }: IndexStanding,
  places: readonly Place[],
): Promise<AsyncIterable<string>> {
  const nodes = new Map((await catalogue.nodes()).map((node) => [node.id, node]))
  const engines = new Map(places.map(({ replica, engine }) => [replica.node, engine]))
  return documentsOf(
    {
      table: { node: (id) => nodes.get(id) },
      engineOf: ({ id }) => {
        const engine = engines.get(id)
        if (engine === undefined) throw new Error(`node ${id} is not there`)
        return engine
      },
    },
    {
      index: { uid: uid ?? move.index, primaryKey, spread },
      placements: places.map(({ replica }) => replica),
    },
    signal,
  )
}

const disksOf = (targets: readonly Replica[]): string =>
  targets.map((replica) => `${replicaId(replica)}:${diskOf(replica)}`).join(' ')

/** `undefined` when what was copied is not there any more. */
function copied(context: StepContext, standing: IndexStanding): readonly Replica[] | undefined {
  const targets = fresh(context, standing)
  const { disk, from = 0 } = context.move.progress
  const isThere = targets.length > 0 && disksOf(targets) === disk && targets.every(({ applied }) => applied >= from)
  // What is built from the journal is built again when its disk is replaced.
  return isThere || (context.move.progress.copy === 'journal' && targets.length > 0) ? targets : undefined
}

async function catchUp(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const targets = copied(context, standing)
  if (targets === undefined) return 'lost'
  const sources = ofGeneration(standing, standing.generation)
  const ahead = Math.min(...sources.map(({ pendingBytes }) => pendingBytes))
  const { trueFrom = 0 } = context.move.progress
  return targets.every((target) => target.applied >= trueFrom && isNear(standing, target, ahead)) ? 'done' : undefined
}

async function verify(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const { move, keep } = context
  const targets = copied(context, standing)
  if (targets === undefined) return 'lost'
  const spread = wantedSpread(context)
  const isAlike = (spread === null) === (standing.spread === null)
  const { primaryKey } = standing
  const placesOf = (some: readonly Replica[]) => Promise.all(some.map((replica) => placeOf(context, replica)))
  const sideOf = { ...context, index: move.index, primaryKey, isAlike }
  const current = ofGeneration(standing, standing.generation)
  const sources = current.filter((replica) => isWhole(replica, standing.completed))
  const [legs] = layersOf(standing.spread, await placesOf(sources))
  if (legs === undefined) return undefined
  const places = legs.map(({ place }) => place)
  if (!(await areInOrder(context, places))) return undefined
  const source = generationSide({ ...sideOf, spread: standing.spread }, legs)
  let compared = 0
  const layers = layersOf(spread, await placesOf(targets))
  // Some shard has no replica any more.
  if (layers.length === 0) return 'lost'
  for (const layer of layers) {
    const target = generationSide({ ...sideOf, spread }, layer)
    const found = await compareSides(source, target, primaryKey, (count) => keep({ compared: compared + count }))
    compared += found.documents
    await keep({ compared, differing: found.differing })
    if (found.differing.length > 0 || found.settingsDiffer) return 'lost'
  }
  return (await areInOrder(context, places)) ? 'done' : undefined
}

async function switchOver(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const { move, keep, clock } = context
  const { generation } = move.progress
  if (generation === undefined || !(await readFrom(context, standing, generation))) return undefined
  await keep({ keepUntil: clock.now() + move.options.keepMs })
  return 'done'
}

/**
 * Before: the replicas of that generation take every change. First changes wait for them, then they are read instead of the
 * others, then no gateway knows of the others, then nobody waits for those.
 */
async function readFrom(context: StepContext, standing: IndexStanding, generation: number): Promise<boolean> {
  const { move, replicas, keep, catalogue } = context
  const targets = ofGeneration(standing, generation)
  if (standing.generation !== generation) {
    if (targets.length === 0) throw new Error('the generation is gone')
    const waiting = targets.filter(({ state }) => state !== 'active')
    for (const replica of waiting) {
      if (replica.state === 'standby' || replica.state === 'parting') await letGatewaysIn(context, replica.node)
      await replicas.changeReplica(move.index, replicaId(replica), { kind: 'admit' })
    }
    if (waiting.length > 0) return false
    // One may have died since it was let in: then the others go on being read.
    for (const node of new Set(targets.map((replica) => replica.node))) await letGatewaysIn(context, node)
    const outcome = await replicas.changeGeneration(move.index, { kind: 'read', number: generation })
    if (outcome === 'unsuited') throw new Error('the generation is gone')
    if (outcome === 'done') await keep({ version: await catalogue.version() })
    return false
  }
  if (move.progress.version === undefined) await keep({ version: await catalogue.version() })
  if (!(await isTakenOver(context))) return false
  for (const replica of standing.replicas) {
    if (replica.generation === generation || replica.state === 'standby' || replica.state === 'leaving') continue
    await replicas.changeReplica(move.index, replicaId(replica), { kind: 'keep' })
  }
  return true
}

async function keepBack(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  return isKeptLongEnough(context) && (await isHeld(context, standing)) ? 'done' : undefined
}

async function isHeld(context: StepContext, standing: IndexStanding): Promise<boolean> {
  const targets = fresh(context, standing)
  if (layersOf(standing.spread, placeless(targets)).length === 0) throw new Error('some shards have no new replica')
  return isHeldBy(context, standing, targets)
}

const placeless = (replicas: readonly Replica[]) => replicas.map((replica) => ({ replica }))

async function close(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const old = ofGeneration(standing, standing.beside?.number)
  const isWhole = old.some(({ state }) => state !== 'leaving')
  return isWhole && !(await isHeld(context, standing)) ? undefined : drop(context, standing)
}

/** All replicas of the generation that is not read go, and then it. */
async function drop(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const { beside } = standing
  if (beside === null) return 'done'
  let isGone = true
  for (const replica of ofGeneration(standing, beside.number)) isGone = (await leave(context, replica)) && isGone
  if (isGone) await context.replicas.changeGeneration(context.move.index, { kind: 'forget', number: beside.number })
  return undefined
}

async function undo(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const { beside, generation } = standing
  const made = context.move.progress.generation
  if (generation !== made) {
    const isBack = beside === null || ofGeneration(standing, beside.number).every(({ state }) => !isCounted(state))
    return isBack || (await readFrom(context, standing, generation)) ? drop(context, standing) : undefined
  }
  if (beside === null) throw new Error('the old generation is gone')
  await readFrom(context, standing, beside.number)
  return undefined
}

const isCounted = (state: Replica['state']): boolean => state === 'active' || state === 'joining' || state === 'filling'

/** What was copied goes away; the next attempt starts from nothing. */
async function clear(context: StepContext, standing: IndexStanding): Promise<MoveEvent | undefined> {
  const event = await drop(context, standing)
  if (event === 'done') await context.keep(nothingCopied)
  return event
}

const nothingCopied = {
  ...{ generation: undefined, copy: undefined, from: undefined, trueFrom: undefined, disk: undefined },
  ...{ compared: undefined, bytes: undefined, documents: undefined, shardsCopied: undefined, revisions: undefined },
} as const

export const reshardActs: Readonly<Partial<Record<MoveStep, Act>>> = {
  planned: plan,
  copying: copy,
  catching_up: catchUp,
  verifying: verify,
  switching: switchOver,
  keeping_back: keepBack,
  closing: close,
  undoing: undo,
  clearing: clear,
  cancelling: drop,
  failing: drop,
}
