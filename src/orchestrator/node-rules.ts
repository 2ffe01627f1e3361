/**
 * Keeps the dynamic search rules of projects on Meilisearch nodes, which take none with a search: for each project there, its
 * rules by physical names. Rules are named by what they say, so that one is made or deleted and never changed, and several
 * workers may do all of it at once: whoever told a node something looks again afterwards whether it still holds.
 */
import type { EngineRules } from '../engine/engine-rules.ts'
import type { Clock } from '../lib/clock.ts'
import type { JsonObject } from '../lib/json.ts'
import type { Node, NodeId, ProjectId } from '../store/catalogue.ts'
import type { NodeRules } from '../store/node-rules.ts'
import type { Catalogue } from '../store/ports.ts'
import { isPlacedRule, placedRules, type RuledProject } from '../topology/placed-rules.ts'

export interface RuleTeller {
  /**
   * The node follows the rules of the project when this resolves; null = of all, and what is left of others goes.
   *
   * @returns what it was told; null = the node does not answer, or takes no rules: the log says so.
   */
  tell(node: Node, project: ProjectId | null, signal: AbortSignal): Promise<string | null>
  /** After a change of the project's rules: every node that answers follows them when this resolves. */
  spread(project: ProjectId, signal: AbortSignal): Promise<void>
}

export interface RuleTellerDeps {
  readonly rules: NodeRules
  readonly catalogue: Pick<Catalogue, 'nodes'>
  readonly engineRules: (node: Node) => EngineRules
  readonly log: { warn(fields: object, message: string): void }
}

/** Times that a node is told again since the catalogue changed meanwhile. */
const roundsMax = 10

export function createRuleTeller({ rules, catalogue, engineRules, log }: RuleTellerDeps): RuleTeller {
  async function tellAll(node: Node, project: ProjectId | null, signal: AbortSignal): Promise<string> {
    let before: string | undefined
    for (let round = 0; round < roundsMax; round += 1) {
      const projects = await rules.ofNode(node.id, project)
      const print = JSON.stringify(projects)
      if (print === before) return print
      await tellOnce(engineRules(node), projects, project, signal)
      before = print
    }
    throw new Error('they change faster than they can be told')
  }

  async function tell(node: Node, project: ProjectId | null, signal: AbortSignal): Promise<string | null> {
    if (!keepsRules(node)) return null
    try {
      return await tellAll(node, project, signal)
    } catch (error) {
      if (!signal.aborted) log.warn({ node: node.id, err: error }, 'search rules cannot be kept on the node')
      return null
    }
  }

  return {
    tell,
    async spread(project, signal) {
      for (const node of await catalogue.nodes()) await tell(node, project, signal)
    },
  }
}

const keepsRules = ({ engine, state }: Node): boolean => engine === 'meilisearch' && state !== 'lost'

async function tellOnce(
  engine: EngineRules,
  projects: readonly RuledProject[],
  project: ProjectId | null,
  signal: AbortSignal,
): Promise<void> {
  const [only] = projects
  // A project without an index on the node has nothing there that anybody could search.
  if (project !== null && only === undefined) return
  const wanted = new Map<string, JsonObject>()
  for (const one of projects) for (const [name, rule] of placedRules(one)) wanted.set(name, rule)
  const present = new Set(await engine.names(signal))
  const missing = new Map([...wanted].filter(([name]) => !present.has(name)))
  const isOurs = (name: string) => isPlacedRule(name, project === null ? undefined : only?.ref)
  const surplus = [...present].filter((name) => isOurs(name) && !wanted.has(name))
  await engine.change(missing, surplus, signal)
}

export interface RuleKeeper {
  /** What the node's disk lost is told again. */
  settle(node: Node, signal: AbortSignal): Promise<void>
  /** Before an index of the project is read there. Costs nothing for projects without rules. */
  ensure(node: Node, project: ProjectId, signal: AbortSignal): Promise<void>
  stop(): Promise<void>
}

export interface RuleKeeperDeps {
  readonly teller: Pick<RuleTeller, 'tell'>
  readonly rules: NodeRules
  readonly catalogue: Pick<Catalogue, 'nodes' | 'onChange'>
  readonly clock: Clock
  readonly log: { warn(fields: object, message: string): void }
  /** How often everything is looked at, if nothing changes. Default one minute. */
  readonly everyMs?: number
}

const everyMsDefault = 60_000
/** Changes that come together are looked at once. */
const restMs = 200

/** Follows the catalogue: indexes that are made, moved, swapped or renamed change what rules are about. */
export function keepNodeRules({
  teller,
  rules,
  catalogue,
  clock,
  log,
  everyMs = everyMsDefault,
}: RuleKeeperDeps): RuleKeeper {
  const stopping = new AbortController()
  /** What this process told each node last. */
  const told = new Map<NodeId, string | null>()
  let ruled: ReadonlySet<ProjectId> | undefined
  let isChanged = true
  let wake: () => void = () => undefined

  async function settleAll(): Promise<void> {
    const nodes = (await catalogue.nodes()).filter(keepsRules)
    if (nodes.length === 0) return
    ruled = await rules.ruledProjects()
    if (ruled.size === 0 && told.size === 0) return
    for (const node of nodes) {
      if (stopping.signal.aborted) return
      const print = JSON.stringify(await rules.ofNode(node.id, null))
      if (told.get(node.id) !== print) told.set(node.id, await teller.tell(node, null, stopping.signal))
    }
  }

  async function run(): Promise<void> {
    const end = await catalogue.onChange(() => {
      isChanged = true
      wake()
    })
    while (!stopping.signal.aborted) {
      isChanged = false
      await settleAll().catch((error: unknown) => {
        log.warn({ err: error }, 'search rules cannot be kept on nodes')
      })
      await clock.sleep(restMs, stopping.signal).catch(() => undefined)
      if (isChanged) continue
      const pause = new AbortController()
      wake = () => pause.abort(new Error('something changed'))
      const until = AbortSignal.any([pause.signal, stopping.signal])
      await clock.sleep(everyMs, until).catch(() => undefined)
    }
    await end()
  }

  const running = run().catch((error: unknown) => log.warn({ err: error }, 'search rules are not kept on nodes'))
  return {
    async settle(node, signal) {
      if (!keepsRules(node) || (await rules.ruledProjects()).size === 0) return
      told.set(node.id, await teller.tell(node, null, signal))
    },
    async ensure(node, project, signal) {
      if (!keepsRules(node)) return
      ruled ??= await rules.ruledProjects()
      if (ruled.has(project)) await teller.tell(node, project, signal)
    },
    async stop() {
      stopping.abort(new Error('the keeper stops'))
      await running
    },
  }
}
