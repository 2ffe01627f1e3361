/**
 * What lanes write into the documents of spread indexes and gateways take out again: fields that are ours, in values that no
 * query can match.
 *
 * An engine with `searchableAttributes: ["*"]` searches every field, these too. Text that consists of separators alone
 * yields no token, so it can be filtered and sorted by but not found (merge findings, section 4 and T1). Eight of them are
 * digits here, in the order of their bytes, so that texts of one length sort like the numbers they stand for. They are those
 * that a client is least likely to name in `nonSeparatorTokens`, which would make them visible again.
 */
import { assert } from '../lib/assert.ts'

/** The shard of a document; filterable on every node. */
export const shardField = '_miroir_shard'

/** A total order of an index's documents, the same on every replica; the last ranking rule on every node. */
export const sequenceField = '_miroir_seq'

export const reservedFields: readonly string[] = [shardField, sequenceField]

/** In the order of their bytes. */
const digits = '!%()*,;?'

const shardDigits = 4
const positionDigits = 13
const lineDigits = 9

/** Most shards of one index. */
export const shardsMax = 8 ** shardDigits

function separatorText(value: number, length: number): string {
  let text = ''
  let rest = value
  for (let place = 0; place < length; place += 1) {
    text = digits[rest % 8]! + text
    rest = Math.floor(rest / 8)
  }
  assert(rest === 0, `${value} does not fit ${length} digits`)
  return text
}

/** 4 characters. */
export function shardText(shard: number): string {
  return separatorText(shard, shardDigits)
}

/** The position that a text of `sequenceText` names. */
export function positionOf(sequence: string): number {
  let position = 0
  for (const digit of sequence.slice(0, positionDigits)) position = position * 8 + digits.indexOf(digit)
  return position
}

/**
 * 22 characters.
 *
 * @param position  in the journal of the index, below 2³⁹.
 * @param line  of the document in its payload, from 0, below 2²⁷.
 */
export function sequenceText(position: number, line: number): string {
  return separatorText(position, positionDigits) + separatorText(line, lineDigits)
}
