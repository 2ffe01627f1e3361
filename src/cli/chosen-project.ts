/** The project that a command is about. */
import type { Project } from '../store/catalogue.ts'
import type { Catalogue } from '../store/ports.ts'
import { CommandFailed } from './exit-codes.ts'
import { requireProject } from './project-command.ts'

export interface ProjectOption {
  readonly project?: string
}

export const projectOption = ['--project <project>', 'name or reference; the first one when left out'] as const

/** The one that is named, or the first one. */
export async function chosenProject(
  catalogue: Pick<Catalogue, 'projects' | 'findProject'>,
  { project }: ProjectOption,
): Promise<Project> {
  if (project !== undefined) return requireProject(catalogue, project)
  const [first] = await catalogue.projects()
  if (first === undefined) throw new CommandFailed('notFound', 'there is no project; `flapjack project create NAME`')
  return requireProject(catalogue, first.ref)
}
