/**
 * Which engine processes a data folder has. Ids stay with their folders and groups for ever: a start only adds to them. Pure.
 */
import { assert } from '../lib/assert.ts'
import type { EngineKind, Node, NodeId } from '../store/catalogue.ts'

export interface LocalNode {
  readonly id: NodeId
  readonly group: number
}

export type LocalFleet = { readonly nodes: readonly LocalNode[] } | { readonly refusal: string }

/** First letter of the ids of engines that a start of a data folder gives them. */
const prefixes = { embedded: 'n', meilisearch: 'm', remote: 'r' } as const

const localId = /^[nmr]([1-9]\d{0,5})$/

/** Whether an id is of the form that `up` gives to its own engines; no other node may have one. */
export function isLocalId(id: NodeId): boolean {
  return localId.test(id)
}

/** A new id of a local engine, behind all that there ever were. */
export function nextLocalId(engine: EngineKind, known: readonly NodeId[]): NodeId {
  return `${prefixes[engine]}${1 + Math.max(0, ...known.filter(isLocalId).map(numberOf))}`
}

/** The id of an engine that somebody else runs and that `up` uses in the place of its own. */
export const remoteId: NodeId = `${prefixes.remote}1`

/**
 * The engine processes to start, by group.
 *
 * @param known   all nodes of the store; those that are not of this folder do not matter.
 * @param wanted  engines per group and groups; null = as many as there are, 1 at first. `remote`: none, one elsewhere is used.
 */
export function planLocalFleet(
  known: readonly Pick<Node, 'id' | 'group'>[],
  wanted: {
    readonly engine: EngineKind | 'remote'
    readonly nodes: number | null
    readonly groups: number | null
    /** Scaling adds engines to groups and takes them away: `nodes` is the fewest that a group has. Default false. */
    readonly isScaled?: boolean
  },
): LocalFleet {
  const prefix = prefixes[wanted.engine]
  const own = known.filter(({ id }) => isLocalId(id)).sort((a, b) => numberOf(a.id) - numberOf(b.id))
  const other = own.find(({ id }) => !id.startsWith(prefix))
  if (other !== undefined) {
    return {
      refusal: `the indexes of this data folder live on another engine (node \`${other.id}\`); start it as before, or use another folder`,
    }
  }
  if (wanted.engine === 'remote') return { nodes: [{ id: remoteId, group: 0 }] }
  const membersOf = (group: number) => own.filter((node) => node.group === group)
  const groups = wanted.groups ?? Math.max(1, ...own.map(({ group }) => group + 1))
  const beyond = own.filter(({ group }) => group >= groups)
  if (beyond.length > 0) {
    const there = 1 + Math.max(...own.map(({ group }) => group))
    return { refusal: tooFew('--groups', there, `${there} replica groups (${idsOf(beyond)} are in others)`) }
  }
  const sizes = Array.from({ length: groups }, (_, group) => membersOf(group).length)
  const isScaled = wanted.isScaled === true
  const size = wanted.nodes ?? (isScaled ? 1 : Math.max(1, ...sizes))
  const fullest = Math.max(...sizes)
  if (fullest > size && !isScaled) {
    const group = sizes.indexOf(fullest)
    return { refusal: tooFew('--nodes', fullest, `${fullest} engines in group ${group} (${idsOf(membersOf(group))})`) }
  }
  let next = 1 + Math.max(0, ...own.map(({ id }) => numberOf(id)))
  const nodes: LocalNode[] = []
  for (let group = 0; group < groups; group += 1) {
    const members = membersOf(group).map(({ id }) => ({ id, group }))
    for (; members.length < size; next += 1) members.push({ id: `${prefix}${next}`, group })
    nodes.push(...members)
  }
  return { nodes }
}

function tooFew(option: string, count: number, what: string): string {
  return `this data folder has ${what}, and indexes may live on each; start it with ${option} ${count} or more, or without ${option}`
}

function idsOf(nodes: readonly { readonly id: NodeId }[]): string {
  return nodes.map(({ id }) => `\`${id}\``).join(', ')
}

function numberOf(id: NodeId): number {
  const number = localId.exec(id)?.[1]
  assert(number !== undefined, `${id} is an engine of this folder`)
  return Number(number)
}
