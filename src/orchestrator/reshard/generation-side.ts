/** A whole generation of an index as one side of a comparison: each shard is answered by one replica that holds it. */
import { sequenceField, shardField, shardText } from '../../api/reserved-fields.ts'
import { joinMembers, splitMembers } from '../../lib/json-cut.ts'
import { idOfLine } from '../../replication/shard-lines.ts'
import { shardClause } from '../../search/shard-clause.ts'
import type { Spread } from '../../store/catalogue.ts'
import { shardOfKey } from '../../topology/rendezvous.ts'
import { type ComparisonContext, holdsHead, type Side, settingsOf } from '../moves/comparison.ts'
import type { Place } from '../moves/move-context.ts'
import { listIds, readDocuments } from '../moves/streamed-copy.ts'

export interface GenerationLeg<P extends Pick<Place, 'replica'> = Place> {
  readonly place: P
  /** What it answers for, ascending. */
  readonly shards: readonly number[]
}

/**
 * Sets of legs that hold every shard once each, so that every replica of every shard is in some set. Pure.
 *
 * @returns none when a shard has no replica.
 */
export function layersOf<P extends Pick<Place, 'replica'>>(
  spread: Spread | null,
  places: readonly P[],
): readonly (readonly GenerationLeg<P>[])[] {
  const count = spread?.shards ?? 1
  const holders = Array.from({ length: count }, (_, shard) =>
    places.filter(({ replica }) => replica.shards.includes(shard)),
  )
  if (holders.some(({ length }) => length === 0)) return []
  const depth = Math.max(...holders.map(({ length }) => length))
  return Array.from({ length: depth }, (_, layer) => {
    const held = new Map<P, number[]>()
    for (const [shard, some] of holders.entries()) {
      const place = some[Math.min(layer, some.length - 1)]!
      held.set(place, [...(held.get(place) ?? []), shard])
    }
    return [...held].map(([place, shards]) => ({ place, shards }))
  })
}

export interface GenerationSideContext extends Omit<ComparisonContext, 'filter'> {
  readonly primaryKey: string | null
  readonly spread: Spread | null
  /** The other side lies plain or spread as well, so that settings and places must be the same. */
  readonly isAlike: boolean
}

/** @param legs  they hold every shard once. */
export function generationSide(context: GenerationSideContext, legs: readonly GenerationLeg[]): Side {
  const { spread, primaryKey, signal, isAlike } = context
  const legOf = new Map(legs.flatMap((leg) => leg.shards.map((shard) => [shard, leg] as const)))
  const shardOf = (id: string) => (spread === null ? 0 : shardOfKey(id, spread.shards))
  return {
    async settings() {
      const texts = new Set(await Promise.all(legs.map(({ place }) => settingsOf(context, place))))
      // Replicas that differ among themselves equal nothing.
      if (texts.size > 1) return [...texts].join('\n')
      return isAlike ? ([...texts][0] ?? null) : null
    },
    async ids() {
      if (primaryKey === null) return []
      const lists = await Promise.all(
        legs.map((leg) => listIds({ signal }, leg.place, primaryKey, spread && clauseOf(leg, spread))),
      )
      return lists.flat()
    },
    async documents(ids) {
      if (primaryKey === null) return []
      const wanted = new Map<GenerationLeg, string[]>()
      for (const id of ids) {
        const leg = legOf.get(shardOf(id))
        if (leg === undefined) continue
        const known = wanted.get(leg)
        if (known === undefined) wanted.set(leg, [id])
        else known.push(id)
      }
      const pages = await Promise.all([...wanted].map(([leg, some]) => readDocuments({ signal }, leg.place, some)))
      const plain = (text: string) => comparable(text, shardOf(idOfLine(text, primaryKey)), isAlike)
      return spread === null ? pages.flat() : pages.flat().map(plain)
    },
    async holdsHead() {
      await Promise.all(legs.map(({ place }) => holdsHead({ ...context, filter: null }, place)))
    },
  }
}

function clauseOf({ shards, place: { replica } }: GenerationLeg, spread: Spread): string | null {
  return shardClause({ shards, isWhole: shards.length === replica.shards.length }, spread.shards)
}

/** Without the shard, if it is the right one, and without the place where the other side has none. */
function comparable(text: string, shard: number, keepsPlace: boolean): string {
  const members = splitMembers(text)
  if (members.get(shardField) === JSON.stringify(shardText(shard))) members.delete(shardField)
  if (!keepsPlace) members.delete(sequenceField)
  return joinMembers(members)
}
