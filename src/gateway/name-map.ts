/**
 * The names that one request translates, in both directions, and the leak guard for what engines say in errors (P-11).
 */
import type { ErrorBody } from '../api/errors.ts'
import type { Project } from '../store/catalogue.ts'
import { physicalName } from '../topology/physical-name.ts'
import { isRead } from '../topology/placement-states.ts'
import type { RouteTable } from '../topology/route-table.ts'

export class NameMap {
  readonly #logicalOf = new Map<string, string>()
  readonly #project: Project
  readonly #table: RouteTable

  constructor(project: Project, table: RouteTable) {
    this.#project = project
    this.#table = table
  }

  /** Remembers that `physical` stands for `logical` and answers it. */
  add(logical: string, physical: string): string {
    this.#logicalOf.set(physical, logical)
    return physical
  }

  /** The physical name of an index that need not exist: a name that only this project can have. */
  toPhysical(logical: string): string {
    const placements = this.#table.index(this.#project.id, logical)?.placements ?? []
    const placement = placements.find(isRead) ?? placements[0]
    return this.add(logical, placement?.physicalUid ?? physicalName(this.#project.ref, logical, 1))
  }

  /** An unknown name is not ours to show. */
  toLogical(physical: string): string {
    return this.#logicalOf.get(physical) ?? this.#inText(physical)
  }

  /** The error as the client may see it: names translated; a text that names another project's index is not shown. */
  toLogicalError(error: ErrorBody): { readonly error: ErrorBody; readonly leaked: boolean } {
    const message = this.#inText(error.message)
    if (!this.#namesOthers(message)) return { error: { ...error, message }, leaked: false }
    return { error: { ...error, message: genericMessage(error.code) }, leaked: true }
  }

  #inText(text: string): string {
    let result = text
    const longestFirst = [...this.#logicalOf].sort(([a], [b]) => b.length - a.length)
    for (const [physical, logical] of longestFirst) result = result.replaceAll(physical, logical)
    // A name of ours that this request did not translate, for example of a foreign key.
    return result.replaceAll(new RegExp(`\\b${this.#project.ref}_(_g\\d+_)?`, 'g'), '')
  }

  #namesOthers(text: string): boolean {
    for (const [, ref] of text.matchAll(/(?<![a-z0-9])([a-z][a-z0-9]{11})_/g)) {
      if (ref !== undefined && this.#table.hasRef(ref)) return true
    }
    return false
  }
}

function genericMessage(code: string): string {
  return `The request failed with \`${code}\`.`
}
