/** How new indexes lie: the same suites pass for each of these starts of `up`. */
import { suite } from 'node:test'

export interface Layout {
  readonly name: string
  /** Options of `up`. */
  readonly args: readonly string[]
}

const engine = process.env.MEILISEARCH_BIN === undefined ? [] : ['--engine', 'meilisearch']

export const layouts: readonly Layout[] = [
  { name: 'plain indexes', args: engine },
  { name: '16 shards over 3 nodes', args: [...engine, '--nodes', '3', '--shards', '16', '--rf', '1'] },
  {
    name: '2 groups of 2 copies',
    args: [...engine, '--groups', '2', '--nodes', '2', '--shards', '4', '--rf', '2'],
  },
]

/** One suite for each layout, one after the other. */
export function inEveryLayout(define: (layout: Layout) => void): void {
  for (const layout of layouts) suite(layout.name, () => define(layout))
}
