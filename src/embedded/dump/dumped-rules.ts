/** Dynamic search rules in a dump: documents of an index of their own, as the reference keeps them. */
import { type NamedRule, rulesIndex } from '../../api/search-rule.ts'
import type { JsonObject } from '../../lib/json.ts'
import type { EngineStore } from '../core.ts'
import { RuleBook } from '../rule-book.ts'
import type { UnpackedDump } from './dump-reader.ts'
import type { DumpedIndex } from './dump-writer.ts'

const plain = (equality: boolean, comparison: boolean) => ({ facetSearch: false, filter: { equality, comparison } })

/** What the reference makes of the index when its first rule comes. */
const settings: JsonObject = {
  displayedAttributes: ['*'],
  searchableAttributes: ['conditions.query.words', 'description'],
  filterableAttributes: [
    { attributePatterns: ['active'], features: plain(true, false) },
    { attributePatterns: ['conditions.time.start'], features: plain(true, true) },
    { attributePatterns: ['conditions.time.end'], features: plain(true, true) },
    { attributePatterns: ['conditions.query.isEmpty'], features: plain(true, false) },
  ],
  sortableAttributes: ['precedence'],
  proximityPrecision: 'byAttribute',
  typoTolerance: { enabled: false, disableOnNumbers: true },
  facetSearch: false,
  prefixSearch: 'disabled',
}

/** Undefined when there are no rules. */
export function dumpedRules(rules: readonly NamedRule[], now: number): DumpedIndex | undefined {
  if (rules.length === 0) return undefined
  const lines = rules.map(({ uid, rule }) => `${JSON.stringify({ uid, ...rule })}\n`)
  return {
    entry: { uid: rulesIndex, primaryKey: 'uid', createdAt: now, updatedAt: now },
    settings,
    documents: single(Buffer.from(lines.join(''))),
  }
}

export async function importRules(dump: UnpackedDump, store: EngineStore): Promise<void> {
  const book = new RuleBook(store)
  for await (const { uid, ...rule } of dump.lines(`indexes/${rulesIndex}/documents.jsonl`))
    await book.change(String(uid), rule)
}

async function* single(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}
