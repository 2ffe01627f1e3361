/** How often each project was told of finished tasks: a search that follows must show what they did. One number a project. */
import type { ProjectId } from '../store/catalogue.ts'

export class TaskNews {
  readonly #counts = new Map<ProjectId, number>()

  told(project: ProjectId): void {
    this.#counts.set(project, this.of(project) + 1)
  }

  of(project: ProjectId): number {
    return this.#counts.get(project) ?? 0
  }
}
