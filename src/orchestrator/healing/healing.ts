/**
 * What is done about nodes that are not well (P-38): start again with a growing pause, then a new machine, whose disk the
 * lanes fill from the journal. Brakes come first: where much looks bad at once, it is rather our sight that is bad. Pure.
 */
import type { NodeId } from '../../store/catalogue.ts'
import { type HealthState, isAway } from '../../topology/health-states.ts'

export interface HealingRules {
  /** Share of a region's nodes that may look bad, or be worked on, at once. One always may. */
  readonly badPercentMax: number
  /** Replacements at once, in the whole fleet. */
  readonly replacementsMax: number
  /** Starts by us within the window, before the machine is replaced. */
  readonly restartsMax: number
  readonly restartWindowMs: number
  /** Pause behind a start; twice as long behind each further one. */
  readonly restartPauseMs: number
  /** So long nothing more is done to a node whose machine was replaced. */
  readonly coolDownMs: number
}

/** P-38. */
export const healingRules: HealingRules = {
  badPercentMax: 30,
  replacementsMax: 2,
  restartsMax: 3,
  restartWindowMs: 600_000,
  restartPauseMs: 10_000,
  coolDownMs: 600_000,
}

/** A node as the keeper sees it. */
export interface SeenNode {
  readonly id: NodeId
  readonly region: string
  readonly health: HealthState
  readonly healthSince: number
  readonly canRestart: boolean
  readonly canReplace: boolean
  /** Nothing on it would be lost with its disk: the journal holds all of it. */
  readonly isReplaceable: boolean
  /** Times of starts by us, ms, oldest first. */
  readonly restarts: readonly number[]
  readonly replacedAt: number | null
  /** Something is being done to it right now. */
  readonly act: 'restart' | 'replace' | null
  /** What an operator wants of it. */
  readonly wish: 'restart' | 'replace' | null
}

export interface SeenFleet {
  readonly nodes: readonly SeenNode[]
  /** Why nothing may be done by itself; null = nothing stands against it. */
  readonly halted: string | null
}

export type HealingAction =
  | { readonly kind: 'restart'; readonly node: NodeId; readonly reason: string; readonly isWished: boolean }
  | { readonly kind: 'replace'; readonly node: NodeId; readonly reason: string; readonly isWished: boolean }
  /** Nothing more is done by itself until a person releases it. */
  | { readonly kind: 'halt'; readonly reason: string }
  /** It stays as it is, and a person should know why. */
  | { readonly kind: 'refuse'; readonly node: NodeId; readonly reason: string }

/** What to do now. The same sight gives the same answer; nodes in the order of their ids. */
export function healing({ nodes, halted }: SeenFleet, rules: HealingRules, now: number): readonly HealingAction[] {
  const sorted = [...nodes].sort((a, b) => (a.id < b.id ? -1 : 1))
  const budget = openBudget(sorted, rules)
  const wished = sorted.flatMap((node) => wishedAction(node, budget))
  if (halted !== null) return wished
  const halt = haltOf(sorted, rules)
  if (halt !== undefined) return [...wished, { kind: 'halt', reason: halt }]
  const taken = new Set(wished.flatMap((action) => ('node' in action ? [action.node] : [])))
  return [
    ...wished,
    ...sorted
      .filter(({ id, act }) => act === null && !taken.has(id))
      .flatMap((node) => ownAction(node, rules, budget, now)),
  ]
}

interface Budget {
  /** Whether one more node of the region may be worked on; counts it if so. */
  takeNode(node: SeenNode): boolean
  takeReplacement(): boolean
}

function openBudget(nodes: readonly SeenNode[], rules: HealingRules): Budget {
  const left = new Map<string, number>()
  for (const [region, members] of byRegion(nodes)) {
    left.set(region, allowedOf(members.length, rules) - members.filter(({ act }) => act !== null).length)
  }
  let replacements = rules.replacementsMax - nodes.filter(({ act }) => act === 'replace').length
  return {
    takeNode({ region }) {
      const room = left.get(region) ?? 0
      if (room <= 0) return false
      left.set(region, room - 1)
      return true
    },
    takeReplacement() {
      if (replacements <= 0) return false
      replacements -= 1
      return true
    },
  }
}

/** How many of so many nodes may be bad, or worked on, at once. */
export function allowedOf(count: number, { badPercentMax }: Pick<HealingRules, 'badPercentMax'>): number {
  return Math.max(1, Math.floor((count * badPercentMax) / 100))
}

function haltOf(nodes: readonly SeenNode[], rules: HealingRules): string | undefined {
  for (const [region, members] of byRegion(nodes)) {
    const bad = members.filter(({ health }) => isAway(health))
    if (bad.length > allowedOf(members.length, rules)) {
      return `${bad.length} of ${members.length} nodes of the region ${region} do not answer (${bad.map(({ id }) => id).join(', ')})`
    }
  }
  return undefined
}

/** What a person asked for is done whatever the brakes say, but for what would take data with it. */
function wishedAction(node: SeenNode, budget: Budget): readonly HealingAction[] {
  const { id, wish, act } = node
  if (wish === null || act !== null) return []
  const refuse = (reason: string): readonly HealingAction[] => [{ kind: 'refuse', node: id, reason }]
  if (wish === 'restart') {
    if (!node.canRestart) return refuse('its driver cannot restart it; restart it where it runs')
    budget.takeNode(node)
    return [{ kind: 'restart', node: id, reason: 'an operator asked for it', isWished: true }]
  }
  if (!node.canReplace) return refuse('its driver cannot replace it')
  if (!node.isReplaceable) return refuse(irreplaceableText)
  budget.takeNode(node)
  budget.takeReplacement()
  return [{ kind: 'replace', node: id, reason: 'an operator asked for it', isWished: true }]
}

export const irreplaceableText =
  'lanes could not fill an empty disk: parts of the journal were dropped (`store.payload_retention_ms`)'

function ownAction(node: SeenNode, rules: HealingRules, budget: Budget, now: number): readonly HealingAction[] {
  const { id, health, healthSince, replacedAt } = node
  if (!isAway(health) || (replacedAt !== null && now - replacedAt < rules.coolDownMs)) return []
  const recent = node.restarts.filter((at) => now - at < rules.restartWindowMs)
  const seconds = Math.round((now - healthSince) / 1000)
  if (node.canRestart && recent.length < rules.restartsMax && health !== 'lost') {
    const last = recent.at(-1)
    if (last !== undefined && now - last < rules.restartPauseMs * 2 ** (recent.length - 1)) return []
    if (!budget.takeNode(node)) return []
    const reason = `it has been ${health} for ${seconds} s; start ${recent.length + 1} of ${rules.restartsMax}`
    return [{ kind: 'restart', node: id, reason, isWished: false }]
  }
  // The last start has its time.
  const last = recent.at(-1)
  if (last !== undefined && now - last < rules.restartPauseMs) return []
  if (!node.canReplace)
    return [{ kind: 'refuse', node: id, reason: 'it does not come back, and its driver cannot replace it' }]
  if (!node.isReplaceable)
    return [{ kind: 'refuse', node: id, reason: `it does not come back, and ${irreplaceableText}` }]
  if (!budget.takeNode(node) || !budget.takeReplacement()) return []
  return [
    { kind: 'replace', node: id, reason: `${recent.length} starts in a row did not bring it back`, isWished: false },
  ]
}

function byRegion(nodes: readonly SeenNode[]): ReadonlyMap<string, readonly SeenNode[]> {
  const regions = new Map<string, SeenNode[]>()
  for (const node of nodes) regions.set(node.region, [...(regions.get(node.region) ?? []), node])
  return regions
}
