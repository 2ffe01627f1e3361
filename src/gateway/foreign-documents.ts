/**
 * Foreign keys through the gateway: ids in hits become the documents that they name in another index of the project, and
 * `_foreign()` conditions become lists of ids. Nodes know of no foreign key: the index that one names is looked up in the
 * route table for every request, so that swaps, renames, deletions and moves of it need nothing else, and the two indexes
 * may be on different nodes.
 */
import { ApiError, type ErrorCode } from '../api/errors.ts'
import { renderFilter } from '../api/filter.ts'
import type { Filter } from '../api/filter-tree.ts'
import { indexNotFound } from '../api/index-uid.ts'
import { missingIndexStatus, rethrowInside } from '../api/multi-search-query.ts'
import {
  type ForeignKey,
  foreignKeysOf,
  type KeyedIndex,
  withForeignDocuments,
} from '../embedded/search/foreign-documents.ts'
import { resolveForeign } from '../embedded/search/foreign-filter.ts'
import { quoteLongIntegers } from '../engine/http-call.ts'
import { exactText, parseExact } from '../lib/exact-numbers.ts'
import { isObject, type Json, type JsonObject } from '../lib/json.ts'
import { joinMembers, splitItems, splitMembers } from '../lib/json-cut.ts'
import { documentId } from '../replication/document-id.ts'
import type { Project } from '../store/catalogue.ts'
import type { IndexRoute } from '../topology/route-table.ts'
import type { Exchange } from './exchange.ts'
import { documentsOf, type Wanted } from './index-documents.ts'
import { EngineError } from './relay.ts'

/** Documents that one answer may take from other indexes; more are refused. */
const documentsMax = 10_000
/** Documents of another index that may match one condition; more are refused. */
const matchesMax = 100_000
const documentsPerRead = 1_000

export class ForeignDocuments {
  readonly #exchange: Exchange
  readonly #project: Project
  readonly #signal: AbortSignal

  constructor(exchange: Exchange, project: Project, signal: AbortSignal) {
    this.#exchange = exchange
    this.#project = project
    this.#signal = signal
  }

  /** As of the request's route table, which a gateway takes over before it shows a task as succeeded. */
  async keys(uid: string): Promise<readonly ForeignKey[]> {
    return foreignKeysOf(await this.#settings(uid))
  }

  /**
   * The filter without conditions on other indexes.
   * @throws ApiError, EngineError what is wrong with such a condition, in the reference's words.
   */
  async resolve(uid: string, filter: Json, code: ErrorCode): Promise<Json> {
    if (!mentionsForeign(JSON.stringify(filter))) return filter
    const keys = await this.keys(uid)
    const asked = new Map<string, () => Promise<readonly string[]>>()
    const name = (foreign: string, condition: Filter) => `${foreign} ${renderFilter(condition)}`
    // First to learn what is asked, then with the answers.
    resolveForeign(filter, code, {
      uid,
      keys,
      ids: (foreign, condition) => {
        asked.set(name(foreign, condition), () => this.#matching(foreign, renderFilter(condition)))
        return []
      },
    })
    const found = new Map<string, readonly string[]>()
    for (const [key, ask] of asked) found.set(key, await ask())
    return resolveForeign(filter, code, {
      uid,
      keys,
      ids: (foreign, condition) => found.get(name(foreign, condition)) ?? [],
    })
  }

  /**
   * The answer of a search, or of several, with foreign documents in its hits. All else keeps its bytes.
   *
   * @param uid  the index of all hits; null = each hit or list says its own, by logical names.
   */
  async fill(body: Uint8Array, uid: string | null): Promise<Buffer> {
    return Buffer.from(await this.#fillText(Buffer.from(body).toString('utf8'), uid))
  }

  async #fillText(text: string, uid: string | null): Promise<string> {
    const members = splitMembers(text)
    const results = members.get('results')
    if (uid === null && results !== undefined) {
      const filled: string[] = []
      for (const [place, result] of splitItems(results).entries()) {
        const own: unknown = JSON.parse(splitMembers(result).get('indexUid') ?? 'null')
        try {
          filled.push(typeof own === 'string' ? await this.#fillText(result, own) : result)
        } catch (error) {
          rethrowInside(
            place,
            () => {
              throw error
            },
            missingIndexStatus({ foreignKeys: true }),
          )
        }
      }
      members.set('results', `[${filled.join(',')}]`)
      return joinMembers(members)
    }
    const hits = members.get('hits')
    const filled = hits === undefined ? undefined : await this.#fillHits(hits, uid)
    if (filled === undefined) return text
    members.set('hits', filled)
    return joinMembers(members)
  }

  /** `undefined` = the hits stay as they are. */
  async #fillHits(text: string, uid: string | null): Promise<string | undefined> {
    const hits = parseExact(text) as readonly Json[]
    const owners = new Set(hits.flatMap((hit) => uid ?? ownerOf(hit) ?? []))
    const settings = new Map<string, JsonObject>()
    const learn = async (name: string) => {
      if (!settings.has(name)) settings.set(name, await this.#settings(name))
      return foreignKeysOf(settings.get(name) ?? {})
    }
    const targets = new Set<string>()
    for (const owner of owners) for (const key of await learn(owner)) targets.add(key.foreignIndexUid)
    if (targets.size === 0) return undefined
    for (const target of targets) await learn(target)
    const wanted = new Map<string, Set<string>>()
    const fillWith = (textOf: (target: string, id: string) => string | undefined) => {
      const need = (name: string): KeyedIndex => ({
        settings: settings.get(name) ?? {},
        text: (id) => textOf(name, id),
      })
      return withForeignDocuments(new Map([['hits', hits]]), uid, need).get('hits')
    }
    // First to learn which documents are named, then with them.
    fillWith((target, id) => {
      const ids = wanted.get(target) ?? new Set()
      wanted.set(target, ids.add(id))
      return undefined
    })
    const count = [...wanted.values()].reduce((sum, { size }) => sum + size, 0)
    if (count > documentsMax) throw new ApiError('bad_request', `${tooMany(documentsMax)}. Ask for fewer hits.`)
    const documents = new Map<string, ReadonlyMap<string, string>>()
    for (const [target, ids] of wanted) documents.set(target, await this.#documents(target, [...ids]))
    const filled = fillWith((target, id) => documents.get(target)?.get(id))
    return exactText(JSON.stringify(filled))
  }

  #route(uid: string): IndexRoute {
    const route = this.#exchange.table.index(this.#project.id, uid)
    if (route === undefined) throw indexNotFound(uid)
    return route
  }

  #settings(uid: string): Promise<JsonObject> {
    return this.#exchange.parts.spread.settings.folded(this.#route(uid).index)
  }

  /** JSON texts by id. */
  async #documents(uid: string, ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const found = new Map<string, string>()
    const { primaryKey } = this.#route(uid).index
    if (primaryKey === null) return found
    for (let start = 0; start < ids.length; start += documentsPerRead) {
      const page = ids.slice(start, start + documentsPerRead)
      for (const text of await this.#read(uid, { ids: page, limit: page.length })) {
        const id = documentId(JSON.parse(quoteLongIntegers(text)) as JsonObject, primaryKey)
        if (id !== undefined) found.set(id, text)
      }
    }
    return found
  }

  async #matching(uid: string, filter: string): Promise<readonly string[]> {
    const { primaryKey } = this.#route(uid).index
    if (primaryKey === null) return []
    const texts = await this.#read(uid, { filter, fields: [primaryKey], limit: matchesMax + 1 })
    if (texts.length > matchesMax)
      throw new ApiError('bad_request', `\`_foreign\`: ${tooMany(matchesMax)} of index \`${uid}\` match the condition.`)
    return texts.flatMap((text) => documentId(JSON.parse(quoteLongIntegers(text)) as JsonObject, primaryKey) ?? [])
  }

  async #read(uid: string, wanted: Wanted): Promise<readonly string[]> {
    try {
      return await documentsOf(this.#exchange, this.#route(uid), wanted, this.#signal)
    } catch (error) {
      if (!(error instanceof EngineError) || error.message.startsWith('Index `')) throw error
      const message = `Index \`${uid}\`: ${error.message}`
      throw new EngineError(error.status, { ...error.body, message }, error.retryAfter)
    }
  }
}

const tooMany = (bound: number) => `More than ${bound} documents`

/** Whether a text of JSON may hold such a condition. */
export function mentionsForeign(text: Pick<Buffer, 'includes'> | string): boolean {
  return text.includes('_foreign') || text.includes('\\u')
}

function ownerOf(hit: Json): string | undefined {
  const federation = isObject(hit) ? hit._federation : undefined
  return federation !== undefined && isObject(federation) && typeof federation.indexUid === 'string'
    ? federation.indexUid
    : undefined
}
