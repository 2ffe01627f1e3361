/** Reading documents of a spread index (M-A4): one by its id, and lists with and without `sort`. */
import type { DocumentQuery, DocumentsQuery } from '../api/documents-query.ts'
import { sequenceField } from '../api/reserved-fields.ts'
import { selectTexts } from '../embedded/search/document-selection.ts'
import type { JsonObject } from '../lib/json.ts'
import { joinMembers, splitItems, splitMembers } from '../lib/json-cut.ts'
import { shardOfKey } from '../topology/rendezvous.ts'
import { compareRows, type Row, type RowOrder, readRow, rowOrder } from './document-rows.ts'
import { indexPath, type Leg, NodesDisagree, type ReadOptions, type SearchedIndex, type Target } from './leg.ts'
import { mergeLists } from './merge-order.ts'
import { isRefusal, refusal } from './refusals.ts'
import { disguise, isReservedName, withClientNames } from './reserved-names.ts'
import { legFilter } from './shard-clause.ts'

/** Rows in one request while the rows before a page are counted off: they hold what decides the order and nothing else. */
const skippedRows = 5_000

/** @returns JSON text of the document. @throws as `searchIndex`; a missing document is refused by its node. */
export async function readDocument(
  index: SearchedIndex,
  id: string,
  { fields, retrieveVectors }: Pick<DocumentQuery, 'fields' | 'retrieveVectors'>,
  options: ReadOptions,
): Promise<string> {
  const target = ownerOf(index, id)
  const parameters = new URLSearchParams()
  if (fields !== null) parameters.set('fields', fields.map((name) => disguise(name)).join(','))
  if (retrieveVectors) parameters.set('retrieveVectors', 'true')
  const search = parameters.size === 0 ? '' : `?${parameters.toString()}`
  const path = indexPath(index, `/documents/${encodeURIComponent(id)}${search}`)
  const leg: Leg = { target: target.id, method: 'GET', path, body: null }
  const reply = await options.ask(leg, options.signal)
  if (isRefusal(reply)) throw await refusal(index, [reply], leg, options)
  return clientDocument(reply.body, null)
}

/** The target that answers for the document's shard. @throws NodesDisagree when no replica of the shard is asked. */
export function ownerOf(index: SearchedIndex, id: string): Target {
  const owner = knownOwner(index, id)
  if (owner === undefined) throw new NodesDisagree(`no replica of a shard of ${index.uid}`)
  return owner
}

/** undefined: the shard has no replica just now. */
function knownOwner({ coverage, spread }: SearchedIndex, id: string): Target | undefined {
  const shard = spread === null ? 0 : shardOfKey(id, spread.shards)
  return coverage.find(({ shards }) => shards.includes(shard))
}

/**
 * `GET` and `POST` lists. Without `sort`, documents come in the order of the index.
 * @returns JSON text of `{results, offset, limit, total}`. @throws as `searchIndex`.
 */
export async function listDocuments(index: SearchedIndex, sent: DocumentsQuery, options: ReadOptions): Promise<string> {
  const query: DocumentsQuery = {
    ...withClientNames(sent, index.settings),
    fields: sent.fields?.filter((name) => !isReservedName(name)) ?? null,
  }
  const list = new DocumentList(index, query, options)
  const { offset, limit } = query
  const starts = await list.startsAt(offset)
  const page = await list.rows(starts, limit)
  const rows = mergeLists(page.lists, compareRows, limit)
  const shown = query.fields === null ? null : new Set(query.fields)
  const results = rows.map(({ text }) => clientDocument(text, shown))
  return `{"results":[${results.join(',')}],"offset":${offset},"limit":${limit},"total":${page.total}}`
}

/** Without reserved fields, and without what only the order needed. */
function clientDocument(text: string, shown: ReadonlySet<string> | null): string {
  const selected = shown === null ? text : selectTexts(text, new Set([...shown, '_vectors']))
  if (!selected.includes('_miroir_')) return selected
  return joinMembers([...splitMembers(selected)].filter(([name]) => !isReservedName(name)))
}

interface Rows {
  readonly lists: readonly (readonly Row[])[]
  readonly total: number
}

class DocumentList {
  readonly order: RowOrder
  readonly #index: SearchedIndex
  readonly #query: DocumentsQuery
  readonly #options: ReadOptions
  readonly #targets: readonly Target[]

  constructor(index: SearchedIndex, query: DocumentsQuery, options: ReadOptions) {
    this.#index = index
    this.#query = query
    this.#options = options
    this.order = rowOrder(query.sort)
    const owners = query.ids === null ? null : new Set(query.ids.map((id) => knownOwner(index, id)))
    const asked = owners === null ? index.coverage : index.coverage.filter((target) => owners.has(target))
    this.#targets = asked.length > 0 ? asked : index.coverage.slice(0, 1)
  }

  /** How many rows of each leg stand before row `offset` of all. Bounded memory: rows before are read in turns. */
  async startsAt(offset: number): Promise<readonly number[]> {
    const starts = this.#targets.map(() => 0)
    for (let left = offset; left > 0; ) {
      const count = Math.min(left, skippedRows)
      const { lists } = await this.rows(starts, count, [...this.order.fields, sequenceField])
      const merged = mergeLists(
        lists.map((list, at) => list.map((row) => ({ row, at }))),
        (a, b) => compareRows(a.row, b.row),
        count,
      )
      for (const { at } of merged) starts[at]! += 1
      if (merged.length < count) break
      left -= count
    }
    return starts
  }

  /** Rows of each leg from its start on. */
  async rows(starts: readonly number[], limit: number, only?: readonly string[]): Promise<Rows> {
    const { ask, signal } = this.#options
    const replies = await Promise.all(
      this.#targets.map((target, at) => ask(this.#leg(target, { offset: starts[at]!, limit }, only), signal)),
    )
    if (replies.some(isRefusal)) {
      const { filter, sort } = this.#query
      const body = { limit: 0, ...(filter === null ? {} : { filter }), ...(sort === null ? {} : { sort }) }
      const probe: Leg = { target: this.#targets[0]!.id, method: 'POST', path: this.#path(), body }
      throw await refusal({ ...this.#index, coverage: this.#targets }, replies, probe, this.#options)
    }
    const answers = replies.map(({ body }) => splitMembers(body))
    return {
      lists: answers.map((answer) =>
        splitItems(answer.get('results') ?? '[]').map((text) => readRow(text, this.order)),
      ),
      total: answers.reduce((sum, answer) => sum + Number(answer.get('total') ?? 0), 0),
    }
  }

  #leg(target: Target, page: { readonly offset: number; readonly limit: number }, only?: readonly string[]): Leg {
    const { fields, filter, sort, ids, retrieveVectors } = this.#query
    const wanted = only ?? (fields === null ? null : [...fields, ...this.order.fields, sequenceField])
    const clause = legFilter(this.#index, target, filter)
    const own = ids?.filter((id) => knownOwner(this.#index, id) === target) ?? null
    const body: JsonObject = {
      ...page,
      ...(wanted === null ? {} : { fields: wanted }),
      ...(clause === null ? {} : { filter: clause }),
      ...this.#sort(sort),
      ...(own === null ? {} : { ids: own }),
      ...(retrieveVectors && only === undefined ? { retrieveVectors } : {}),
    }
    return { target: target.id, method: 'POST', path: this.#path(), body }
  }

  /** On a node, rows stand in the order of the index only when they are asked for in it. */
  #sort(sort: readonly string[] | null): { readonly sort?: readonly string[] } {
    if (this.#index.spread !== null) return { sort: [...(sort ?? []), `${sequenceField}:asc`] }
    return sort === null ? {} : { sort }
  }

  #path(): string {
    return indexPath(this.#index, '/documents/fetch')
  }
}
