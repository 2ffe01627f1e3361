/** The dynamic search rules of the engine: durable in its store, and all in memory. */
import type { RuleListQuery, SearchRule } from '../api/search-rule.ts'
import { isInTime } from '../api/search-rule.ts'
import { isObject, type JsonObject } from '../lib/json.ts'
import type { EngineStore } from './core.ts'
import { rulesAbout } from './rule-search.ts'

/** The index that tasks of rules name, as in the reference. */
export const rulesIndex = '.meili_dsr'

export const rulePrefix = 'rule/'

interface StoredRule {
  /** Rules are listed in the order in which they came. */
  readonly order: number
  readonly rule: SearchRule
}

export interface NamedRule {
  readonly uid: string
  readonly rule: SearchRule
}

export class RuleBook {
  readonly #store: EngineStore
  #rules: Map<string, StoredRule> | undefined

  constructor(store: EngineStore) {
    this.#store = store
  }

  get(uid: string): SearchRule | undefined {
    return this.#all().get(uid)?.rule
  }

  /** A page, and how many match. */
  list({ offset, limit, query, active }: RuleListQuery): {
    readonly results: readonly NamedRule[]
    readonly total: number
  } {
    const rules = this.#sorted().filter(({ rule }) => active === null || this.#isActive(rule) === active)
    const found = query === null ? rules : rulesAbout(query, rules)
    return { results: found.slice(offset, offset + limit), total: found.length }
  }

  /** Rules that may change a search of one of these indexes now, lowest precedence number first. */
  of(indexes: readonly string[], now: number): readonly SearchRule[] {
    const found = this.#sorted().flatMap(({ rule }) => {
      if (!this.#isActive(rule) || !isInTime(rule, now)) return []
      const names = (rule.actions ?? []).map(({ selector }) => selector.indexUid)
      return names.some((uid) => uid === undefined || indexes.includes(uid)) ? [rule] : []
    })
    return found.sort((a, b) => precedence(a) - precedence(b))
  }

  /** `change`: null = as if never set. May run twice. */
  async change(uid: string, change: JsonObject): Promise<void> {
    const rules = this.#all()
    const before = rules.get(uid)
    const order = before?.order ?? Math.max(-1, ...[...rules.values()].map((known) => known.order)) + 1
    const fields = Object.entries({ ...(before?.rule as JsonObject | undefined), ...change })
    const rule = Object.fromEntries(fields.filter(([, value]) => value !== null))
    await this.#store.put(rulePrefix + uid, { order, rule })
    rules.set(uid, { order, rule: rule as SearchRule })
  }

  async delete(uid: string): Promise<void> {
    await this.#store.delete(rulePrefix + uid)
    this.#all().delete(uid)
  }

  /** Answers how many there were. */
  async clear(): Promise<number> {
    const uids = [...this.#all().keys()]
    for (const uid of uids) await this.delete(uid)
    return uids.length
  }

  /** As in the reference: who says nothing is active, until some rule says something. */
  #isActive({ active }: SearchRule): boolean {
    return active ?? ![...this.#all().values()].some(({ rule }) => rule.active !== undefined)
  }

  #sorted(): NamedRule[] {
    return [...this.#all()].sort(([, a], [, b]) => a.order - b.order).map(([uid, { rule }]) => ({ uid, rule }))
  }

  /** Read when first asked for: a dump may fill the store before. */
  #all(): Map<string, StoredRule> {
    this.#rules ??= new Map(
      this.#store.list(rulePrefix).flatMap(({ key, value }) => {
        const isRule = isObject(value) && isObject(value.rule ?? null) && typeof value.order === 'number'
        // Only this class writes the entries.
        return isRule ? [[key.slice(rulePrefix.length), value as object as StoredRule] as const] : []
      }),
    )
    return this.#rules
  }
}

const precedence = (rule: SearchRule): number => rule.precedence ?? Number.POSITIVE_INFINITY
