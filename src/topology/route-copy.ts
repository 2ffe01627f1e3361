/**
 * A route table as lines of text and back: what a gateway keeps on its disk, to start while the store is away (P-16). Pure.
 * One line of JSON each: a head, then nodes, credentials, projects, keys and indexes with their placements, then an end with the count of
 * lines, so that a copy that was cut off is not taken for a whole one.
 */
import type { Json } from '../lib/json.ts'
import type { ApiKey, Credential, IndexEntry, Node, Placement, Project } from '../store/catalogue.ts'
import type { CatalogueSnapshot } from '../store/ports.ts'
import type { RouteTable } from './route-table.ts'

/** Raised whenever a line means something else: a copy of another format is not read. */
const format = 5

type Line =
  | {
      readonly kind: 'head'
      readonly format: number
      readonly version: number
      readonly asOf: number
      readonly notes: Json
    }
  | { readonly kind: 'node'; readonly node: Node }
  | { readonly kind: 'credential'; readonly credential: Credential }
  | { readonly kind: 'project'; readonly project: Project }
  | { readonly kind: 'key'; readonly key: ApiKey }
  | { readonly kind: 'index'; readonly index: IndexEntry; readonly placements: readonly Placement[] }
  | { readonly kind: 'end'; readonly lines: number }

/**
 * @param asOf  everything committed before is in the table; milliseconds since 1970.
 * @param notes  what else whoever reads the copy needs.
 */
export function* copyLines(table: RouteTable, asOf: number, notes: Json): Generator<string> {
  let count = 0
  const line = (content: Line) => {
    count += 1
    return `${JSON.stringify(content)}\n`
  }
  yield line({ kind: 'head', format, version: table.version, asOf, notes })
  for (const node of table.nodes()) yield line({ kind: 'node', node })
  for (const credential of table.credentials()) yield line({ kind: 'credential', credential })
  for (const project of table.projects()) {
    yield line({ kind: 'project', project })
    for (const key of table.keys(project.id)) yield line({ kind: 'key', key })
    for (const { index, placements } of table.unsortedIndexes(project.id)) {
      yield line({ kind: 'index', index, placements })
    }
  }
  yield line({ kind: 'end', lines: count })
}

export interface RouteCopy {
  readonly snapshot: CatalogueSnapshot
  readonly asOf: number
  readonly notes: Json
}

/** Takes lines one by one. */
export interface CopyReader {
  take(line: string): void
  /** `undefined`: the copy is not whole, or of another format. */
  finish(): RouteCopy | undefined
}

export function createCopyReader(): CopyReader {
  let version: number | undefined
  let asOf = 0
  let notes: Json = null
  let count = 0
  let isWhole = false
  const projects: Project[] = []
  const keys: ApiKey[] = []
  const indexes: IndexEntry[] = []
  const placements: Placement[] = []
  const nodes: Node[] = []
  const credentials: Credential[] = []
  return {
    take(text) {
      // Written by `copyLines`; of another format nothing is believed, which the missing version says.
      const line = JSON.parse(text) as Line
      if (line.kind === 'head') {
        if (line.format === format) version = line.version
        asOf = line.asOf
        notes = line.notes
      } else if (line.kind === 'node') nodes.push(line.node)
      else if (line.kind === 'credential') credentials.push(line.credential)
      else if (line.kind === 'project') projects.push(line.project)
      else if (line.kind === 'key') keys.push(line.key)
      else if (line.kind === 'index') {
        indexes.push(line.index)
        placements.push(...line.placements)
      } else isWhole = line.lines === count
      count += 1
    },
    finish() {
      if (version === undefined || !isWhole) return undefined
      return { snapshot: { version, projects, keys, indexes, placements, nodes, credentials }, asOf, notes }
    },
  }
}
