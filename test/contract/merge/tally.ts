/** What became of the questions, by kind and by row of docs/merge.md. */
import type { Kind } from './kinds.ts'

export class Tally {
  readonly #kinds = new Map<Kind, { count: number; same: number }>()
  readonly #rows = new Map<string, { explained: number; applied: number }>()
  readonly unexplained: string[] = []
  count = 0

  /** @param rows  that were needed; none = the same. */
  add(kind: Kind, rows: readonly string[], applicable: readonly string[]): void {
    this.count += 1
    const counts = this.#kinds.get(kind) ?? { count: 0, same: 0 }
    this.#kinds.set(kind, counts)
    counts.count += 1
    // The order of fields within documents is no part of an answer.
    if (rows.length === 0 || (rows.length === 1 && rows[0] === 'T12')) counts.same += 1
    for (const row of applicable) this.#row(row).applied += 1
    // Rows before the last did not do.
    const last = rows.at(-1)
    if (last !== undefined) this.#row(last).explained += 1
  }

  /** Share of the questions to which a row applies that it explains. */
  shareOf(row: string): number {
    const { explained, applied } = this.#row(row)
    return applied === 0 ? 0 : explained / applied
  }

  /** Share of a kind's questions that were answered the same in everything that is compared. */
  sameShare(kind: Kind): number {
    const { count, same } = this.#kinds.get(kind) ?? { count: 0, same: 0 }
    return count === 0 ? 1 : same / count
  }

  get lines(): readonly string[] {
    const percent = (share: number) => `${(share * 100).toFixed(1)} %`
    return [
      `${this.count} answers compared, ${this.unexplained.length} differ without a reason`,
      ...[...this.#kinds].map(([kind, { count, same }]) => `  ${kind}: ${count}, the same ${percent(same / count)}`),
      ...[...this.#rows].map(([row, { explained, applied }]) => `  ${row} explains ${explained} of ${applied}`),
    ]
  }

  #row(row: string): { explained: number; applied: number } {
    const known = this.#rows.get(row) ?? { explained: 0, applied: 0 }
    this.#rows.set(row, known)
    return known
  }
}
