/**
 * Keeps the keys with which gateways reach nodes (P-22): for each project and node one that reads that project's indexes and
 * nothing else, so that no gateway needs a master key. They are made before the project's first index on the node is, made
 * again where a disk lost them, and replaced every 90 days: the one before goes on working until the next replacement.
 *
 * Where the key of a node may make no others, gateways get that one key for everything.
 *
 * Several workers may do all of it at once: a key's uid follows from what it is for, and with it its value.
 */
import { createHash } from 'node:crypto'
import type { Action } from '../api/actions.ts'
import type { EngineKeys } from '../engine/engine-keys.ts'
import type { Clock } from '../lib/clock.ts'
import type { EngineKind, Node, NodeId, ProjectId } from '../store/catalogue.ts'
import type { EngineCredentials, KeptCredential, ProjectOnNode } from '../store/engine-credentials.ts'
import { type CredentialPurpose, credentialId } from '../topology/read-access.ts'

export interface CredentialKeeper {
  /** What a node's disk lost is made again, and what is due is replaced. @throws when the node does not answer. */
  settle(node: Node, signal: AbortSignal): Promise<void>
  /** The project's key is there when this resolves. Costs nothing when it was before. */
  ensure(node: Node, project: ProjectId, signal: AbortSignal): Promise<void>
  stop(): Promise<void>
}

export interface CredentialKeeperDeps {
  readonly credentials: EngineCredentials
  readonly nodes: () => Promise<readonly Node[]>
  readonly keysOf: (node: Node) => EngineKeys
  readonly clock: Clock
  readonly log: {
    warn(fields: object, message: string): void
  }
  /** How often everything is looked at. Default one minute. */
  readonly everyMs?: number
}

const everyMsDefault = 60_000
/** P-22. */
const lastsMs = 90 * 86_400_000
/**
 * Projects of one node that have a key each; further ones share one that reads everything. Meilisearch finds the key of a
 * request by computing one HMAC after the other, 0.8 µs each (measured with 1.50): with 200 keys 0.2 ms at worst. The indexes
 * of a key are immutable there, and tenant tokens open searches alone, so that neither gives many projects a bounded cost.
 */
const projectsMax: Record<EngineKind, number> = { embedded: 10_000, meilisearch: 200 }

const readActions: readonly Action[] = [
  ...(['search', 'documents.get', 'indexes.get', 'settings.get', 'stats.get', 'fields.post'] as const),
]
const flagActions: readonly Action[] = ['experimental.get', 'experimental.update']

interface Wanted {
  readonly purpose: CredentialPurpose
  readonly project: ProjectId | null
  readonly actions: readonly Action[]
  readonly indexes: readonly string[]
}

const flags: Wanted = { purpose: 'flags', project: null, actions: flagActions, indexes: ['*'] }
const reads: Wanted = { purpose: 'reads', project: null, actions: readActions, indexes: ['*'] }
/** Physical names begin with the reference, and no reference is the beginning of another (P-02). */
const readsOf = ({ id, ref }: ProjectOnNode): Wanted => {
  return { purpose: id, project: id, actions: readActions, indexes: [`${ref}_*`] }
}

export function keepEngineCredentials(deps: CredentialKeeperDeps): CredentialKeeper {
  const { credentials, nodes, keysOf, clock, log, everyMs = everyMsDefault } = deps
  const stopping = new AbortController()
  /** What this process knows to be there: ids of credentials, and of projects that share one. */
  const known = new Set<string>()
  /** Nodes of which the log said that there is one key for everything. */
  const told = new Set<NodeId>()

  async function provide(
    node: Node,
    wanted: Wanted,
    before: KeptCredential | undefined,
    present: ReadonlyMap<string, string>,
    signal: AbortSignal,
  ): Promise<'made' | 'refused'> {
    const keys = keysOf(node)
    const id = credentialId(node.id, wanted.purpose)
    const isDue = before !== undefined && clock.now() - before.madeAt >= lastsMs
    const generation = Math.max(1, (before?.generation ?? 1) + (isDue ? 1 : 0))
    const uid = keyUid(id, generation)
    const grant = {
      uid,
      name: `flapjack gateways: ${wanted.purpose}`,
      actions: wanted.actions,
      indexes: wanted.indexes,
    }
    const value = present.get(uid) ?? (await keys.make(grant, signal))
    if (value === 'refused') return 'refused'
    if (before?.key !== value || before.generation !== generation) {
      const madeAt = before === undefined || isDue ? clock.now() : before.madeAt
      await credentials.put({ id, node: node.id, project: wanted.project, key: value, generation, madeAt })
    }
    // Gateways have the new one within a second, and their requests under way end with the one before.
    if (isDue && generation > 2) await keys.remove(keyUid(id, generation - 2), signal)
    known.add(id)
    return 'made'
  }

  /** The node's own key, for everything. */
  async function shareOwnKey(node: Node, kept: ReadonlyMap<string, KeptCredential>): Promise<void> {
    const { key } = node
    if (key === null) return
    if (!told.has(node.id)) {
      told.add(node.id)
      log.warn({ node: node.id }, 'the key of the node may make no others: gateways use it itself, for all projects')
    }
    for (const purpose of ['reads', 'flags'] as const) {
      const id = credentialId(node.id, purpose)
      const before = kept.get(id)
      const isOurs = before !== undefined && before.generation > 0
      if (isOurs || before?.key === key) continue
      await credentials.put({ id, node: node.id, project: null, key, generation: 0, madeAt: clock.now() })
    }
  }

  const keptOf = async (node: Node) => new Map((await credentials.ofNode(node.id)).map((one) => [one.id, one]))

  async function settle(node: Node, signal: AbortSignal): Promise<void> {
    if (node.key === null) return
    const present = await keysOf(node).list(signal)
    if (present === 'keyless') return
    const kept = await keptOf(node)
    if (present === 'refused') return shareOwnKey(node, kept)
    const projects = await credentials.projectsOn(node.id)
    const isKept = (id: ProjectId) => kept.has(credentialId(node.id, id))
    const old = projects.filter(({ id }) => isKept(id))
    const fresh = projects.filter(({ id }) => !isKept(id))
    const room = Math.max(0, projectsMax[node.engine] - old.length)
    const own = [...old, ...fresh.slice(0, room)].map(readsOf)
    const needsShared = fresh.length > room || kept.has(credentialId(node.id, 'reads'))
    for (const wanted of [...own, ...(needsShared ? [reads] : []), flags]) {
      signal.throwIfAborted()
      const before = kept.get(credentialId(node.id, wanted.purpose))
      if ((await provide(node, wanted, before, present, signal)) === 'refused') return shareOwnKey(node, kept)
    }
  }

  async function ensure(node: Node, project: ProjectId, signal: AbortSignal): Promise<void> {
    const id = credentialId(node.id, project)
    if (node.key === null || known.has(id)) return
    const named = (await credentials.has(id)) ? undefined : await credentials.project(project)
    if (named !== undefined) {
      const hasRoom = (await credentials.count(node.id)) < projectsMax[node.engine]
      const wanted = hasRoom ? readsOf(named) : reads
      if (hasRoom || !(await credentials.has(credentialId(node.id, 'reads')))) {
        const outcome = await provide(node, wanted, undefined, new Map(), signal)
        if (outcome === 'refused') await shareOwnKey(node, await keptOf(node))
      }
    }
    known.add(id)
  }

  async function settleAll(): Promise<void> {
    for (const node of await nodes()) {
      if (stopping.signal.aborted) return
      if (node.state === 'lost') continue
      await settle(node, stopping.signal).catch((error: unknown) => {
        if (!stopping.signal.aborted)
          log.warn({ node: node.id, err: error }, 'keys for gateways cannot be looked after')
      })
    }
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      await settleAll().catch((error: unknown) => {
        log.warn({ err: error }, 'keys for gateways cannot be looked after')
      })
      await clock.sleep(everyMs, stopping.signal).catch(() => undefined)
    }
  }

  const running = run()
  return {
    settle,
    ensure,
    async stop() {
      stopping.abort(new Error('the keeper stops'))
      await running
    },
  }
}

/** The same for every worker and after any crash: a UUID of version 4 in form. */
function keyUid(id: NodeId, generation: number): string {
  const hex = createHash('sha256').update(`flapjack engine key ${id} ${generation}`).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}
