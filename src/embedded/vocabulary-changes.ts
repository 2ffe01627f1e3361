/**
 * Which words came to the vocabulary of an index, and which left it, in its last batches: who keeps words in memory follows them and
 * need not read the vocabulary again behind every batch.
 */
import { type IndexEnv, mainKeys, readJson, writeJson } from './index-env.ts'
import type { KeptWords } from './index-reader.ts'

/** Whether a word is there now; of words that came or went. */
export type WordChanges = ReadonlyMap<string, boolean>

interface LoggedBatch {
  /** `IndexFacts.vocabularyVersion` behind the batch. */
  readonly version: number
  readonly words: readonly (readonly [word: string, isThere: boolean])[]
}

/** Words of all batches that are kept: the list is written with every batch. More of one batch need not be gathered. */
export const loggedMax = 1_000
/** Changes that nobody took: an index whose words nobody keeps. */
const untakenMax = 5_000

/** Before: the batch made `version`. `undefined` = more changed than can be told. */
export function logChanges(env: IndexEnv, version: number, changes: WordChanges | undefined): void {
  const kept: LoggedBatch[] = []
  if (changes !== undefined && changes.size <= loggedMax) {
    kept.push({ version, words: [...changes] })
    let count = changes.size
    for (const batch of readLog(env).reverse()) {
      count += batch.words.length
      if (count > loggedMax || batch.version !== kept[0]!.version - 1) break
      kept.unshift(batch)
    }
  }
  writeJson(env.main, mainKeys.vocabularyChanges, kept)
}

/** The words as of `version`: `known` itself, with what changed, where that is still told. */
export function followWords(env: IndexEnv, known: KeptWords | undefined, version: number): KeptWords {
  if (known?.version === version) return known
  const fresh = { version, changes: new Map<string, boolean>() }
  if (known === undefined || known.version > version) return fresh
  const batches = readLog(env).filter((batch) => batch.version > known.version && batch.version <= version)
  if (batches.length !== version - known.version) return fresh
  for (const { words } of batches) for (const [word, isThere] of words) known.changes.set(word, isThere)
  if (known.changes.size > untakenMax) return fresh
  known.version = version
  return known
}

function readLog(env: IndexEnv): LoggedBatch[] {
  return readJson<LoggedBatch[]>(env.main, mainKeys.vocabularyChanges) ?? []
}
