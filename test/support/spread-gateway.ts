/** A gateway in this process with one spread index over nodes that the caller provides; no store behind it. All tasks succeeded. */
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { sequenceText, shardText } from '../../src/api/reserved-fields.ts'
import type { TaskView } from '../../src/api/tasks.ts'
import { loadConfig } from '../../src/config/config.ts'
import { keyValue } from '../../src/control/key-value.ts'
import { type Gateway, startGateway } from '../../src/gateway/gateway.ts'
import type { GatewayOptions } from '../../src/gateway/gateway-options.ts'
import type { Journal } from '../../src/journal/ports.ts'
import type { JsonObject } from '../../src/lib/json.ts'
import type { ApiKey, IndexEntry, Placement } from '../../src/store/catalogue.ts'
import type { Catalogue } from '../../src/store/ports.ts'
import { physicalName } from '../../src/topology/physical-name.ts'
import { credentialHash } from '../../src/topology/route-table.ts'
import { testProject } from './project.ts'

export interface SpreadNode {
  readonly id: string
  readonly url: string
  readonly group?: number
  /** Of the index `books`; none = it holds nothing of it. */
  readonly shards: readonly number[]
}

export interface SpreadGateway {
  readonly gateway: Gateway
  readonly registry: Registry
  readonly masterKey: string
  readonly searchKey: string
  readonly searchKeyUid: string
  /** These nodes take a settings change of `books` from now on, and no others do. */
  readonly turn: (nodes: readonly string[]) => void
  /** These nodes are about to build their replicas of `books` anew, and no others are. */
  readonly empty: (nodes: readonly string[]) => void
}

export interface SpreadGatewayOptions {
  readonly nodes: readonly SpreadNode[]
  readonly settings?: JsonObject
  readonly settingsPosition?: number
  /** Plain ones beside `books`, by the node that holds them. */
  readonly plain?: Readonly<Record<string, string>>
  /** Environment of the configuration. */
  readonly env?: Readonly<Record<string, string>>
  readonly more?: Partial<GatewayOptions>
}

export const searchKeyUid = '00000000-1111-4111-8111-111111111111'
export const spreadMasterKey = 'master-of-alpha'
const project = testProject('alpha', { ref: 'aaaaaaaaaaaa' })
const searchKey = keyValue(project.masterKey, searchKeyUid)

/** The caller closes `gateway`. */
export async function startSpreadGateway(options: SpreadGatewayOptions): Promise<SpreadGateway> {
  const { nodes, settings = {}, plain = {}, env = {}, more = {} } = options
  const settingsPosition = options.settingsPosition ?? (options.settings === undefined ? 0 : 3)
  const shards = 1 + Math.max(0, ...nodes.flatMap((node) => node.shards))
  const entry = (uid: string, spread: IndexEntry['spread']): IndexEntry => {
    const times = { createdAt: 1, updatedAt: 2 }
    return { id: `i-${uid}`, project: project.id, uid, primaryKey: 'id', ...times, settingsPosition, spread }
  }
  let turning: readonly string[] = []
  let filling: readonly string[] = []
  let version = 1
  let tell = () => {}
  const placement = (uid: string, node: string, held: readonly number[]): Placement => ({
    ...(turning.includes(node) ? { turn: 9 } : {}),
    ...{ index: `i-${uid}`, generation: 1, shards: held, node },
    ...{ physicalUid: physicalName(project.ref, uid, 1), applied: 5, revision: 0 },
    state: filling.includes(node) ? 'filling' : 'active',
  })
  const holders = nodes.filter((node) => node.shards.length > 0)
  const key: ApiKey = {
    ...{ project: project.id, uid: searchKeyUid, name: null, description: null, actions: ['search'], indexes: ['*'] },
    ...{ expiresAt: null, hash: credentialHash(searchKey), createdAt: 1, updatedAt: 1 },
  }
  const catalogue: Pick<Catalogue, 'snapshot' | 'changesAfter' | 'onChange'> = {
    snapshot: async () => ({
      version: 1,
      projects: [project],
      keys: [key],
      indexes: [
        entry('books', { shards, replicationFactor: 1, exactTies: false }),
        ...Object.keys(plain).map((uid) => entry(uid, null)),
      ],
      placements: [
        ...holders.map((node) => placement('books', node.id, node.shards)),
        ...Object.entries(plain).map(([uid, node]) => placement(uid, node, [0])),
      ],
      nodes: nodes.map(({ id, url, group = 0 }) => ({
        ...{ id, engine: 'meilisearch', url, region: 'r', group, capacity: null, state: 'active', key: null },
      })),
      credentials: [],
    }),
    changesAfter: async () => ({
      version,
      changes: [
        {
          event: { version, entity: 'index', project: project.id, entityId: 'i-books' },
          now: {
            index: entry('books', { shards, replicationFactor: 1, exactTies: false }),
            placements: holders.map((node) => placement('books', node.id, node.shards)),
          },
        },
      ],
    }),
    async onChange(listener) {
      tell = listener
      return async () => undefined
    },
  }
  const journal: Pick<Journal, 'completedSettings' | 'task'> = {
    completedSettings: async () => settings,
    task: async (_, uid) => finishedTask(uid),
  }
  const registry = new Registry()
  const gateway = await startGateway({
    httpAddr: '127.0.0.1:0',
    catalogue: whole<Catalogue>(catalogue),
    journal: whole<Journal>(journal),
    logger: pino({ level: 'silent' }),
    metrics: registry,
    cluster: loadConfig({ env, flags: {} }).cluster,
    ...more,
  })
  const changed = () => {
    version += 1
    tell()
  }
  return {
    ...{ gateway, registry, masterKey: project.masterKey, searchKey, searchKeyUid },
    turn(nodes) {
      turning = nodes
      changed()
    },
    empty(nodes) {
      filling = nodes
      changed()
    },
  }
}

function finishedTask(uid: number): TaskView {
  const at = '2026-01-01T00:00:00Z'
  return {
    ...{
      uid,
      batchUid: uid,
      indexUid: 'books',
      status: 'succeeded',
      type: 'documentAdditionOrUpdate',
      canceledBy: null,
    },
    ...{ error: null, duration: 'PT0.1S', enqueuedAt: at, startedAt: at, finishedAt: at },
  }
}

/** The gateway asks for whole ports; what is not faked here fails loudly. */
function whole<T extends object>(part: Partial<T>): T {
  return new Proxy(part, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (value === undefined) throw new Error(`not faked: ${String(name)}`)
      return value
    },
  }) as T
}

/** What a node answers a leg with: `count` hits, best first, told apart by `leg`. JSON text. */
export function legAnswer(leg: number, count: number): string {
  const hits = Array.from({ length: count }, (_, at) => {
    const typos = Math.floor((3 * at) / count)
    return {
      _miroir_shard: shardText(leg),
      _miroir_seq: sequenceText(1, 4 * at + leg),
      id: leg * 10_000 + at,
      title: `product ${at} of leg ${leg}`,
      _rankingScore: 1 - at / count,
      _rankingScoreDetails: {
        words: { order: 0, matchingWords: 2, maxMatchingWords: 2, score: 1 },
        typo: { order: 1, typoCount: typos, maxTypoCount: 3, score: (4 - typos) / 4 },
        proximity: { order: 2, score: 0.75 },
        attributeRank: { order: 3, score: 1 },
        wordPosition: { order: 4, score: 0.95 },
        exactness: { order: 5, matchType: 'noExactMatch', matchingWords: 1, maxMatchingWords: 2, score: 0.22 },
        '_miroir_seq:asc': { order: 6, value: sequenceText(1, 4 * at + leg) },
      },
    }
  })
  return JSON.stringify({
    ...{ hits, query: 'two words', processingTimeMs: leg, limit: count, offset: 0, estimatedTotalHits: count },
    requestUid: '01890000-0000-7000-8000-000000000000',
  })
}
