/** The index that an operator means. */
import { ApiError } from '../api/errors.ts'
import type { IndexEntry, Project } from '../store/catalogue.ts'
import type { Catalogue } from '../store/ports.ts'

export interface IndexName {
  readonly index: string
  /** Name or reference of its project; null = the only one that has such an index. */
  readonly project: string | null
}

/** @throws ApiError `miroir_not_found`, `miroir_invalid_request`. */
export async function namedIndex(
  catalogue: Pick<Catalogue, 'snapshot' | 'findProject'>,
  { index, project }: IndexName,
): Promise<IndexEntry> {
  const owner = project === null ? undefined : await namedProject(catalogue, project)
  const { indexes } = await catalogue.snapshot()
  const found = indexes.filter(({ uid, project: of }) => uid === index && (owner === undefined || of === owner.id))
  const [first, ...others] = found
  if (first === undefined) throw new ApiError('miroir_not_found', `There is no index \`${index}\`.`)
  if (others.length === 0) return first
  throw new ApiError('miroir_invalid_request', `Several projects have an index \`${index}\`: say which by \`project\`.`)
}

/** @throws ApiError `miroir_not_found`. */
export async function namedProject(catalogue: Pick<Catalogue, 'findProject'>, nameOrRef: string): Promise<Project> {
  const project = await catalogue.findProject(nameOrRef)
  if (project === undefined) throw new ApiError('miroir_not_found', `There is no project \`${nameOrRef}\`.`)
  return project
}
