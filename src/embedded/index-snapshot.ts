/** What does not change between two batches of an index, read once for all searches between them. */
import { completeSettings } from '../api/settings.ts'
import type { Bitmap } from '../lib/bitmap.ts'
import type { JsonObject } from '../lib/json.ts'
import { searchWeight } from './field-rules.ts'
import { type IndexEnv, type IndexFacts, mainKeys, readBitmap, readFacts, readRevision } from './index-env.ts'
import type { KeptWords } from './index-reader.ts'
import type { IndexSettings } from './index-settings.ts'
import { followWords } from './vocabulary-changes.ts'

export interface IndexSnapshot {
  readonly revision: number
  readonly facts: IndexFacts
  /** The same object as long as the settings are the same, so that what is made of them can be kept. */
  readonly settings: IndexSettings
  /** The same object as long as settings are the same and it is known which words came and went. */
  readonly words: KeptWords
  readonly documentIds: Bitmap
  readonly fieldIds: ReadonlyMap<string, number>
  readonly searchableFields: readonly { readonly id: number; readonly name: string; readonly weight: number }[]
}

const emptyFacts: IndexFacts = {
  primaryKey: null,
  settings: {},
  fieldNames: [],
  vocabularyVersion: 0,
  fieldDistribution: {},
  documentBytes: 0,
  createdAt: 0,
  updatedAt: 0,
}

const settingsText = ({ settings, embedderDimensions = {} }: IndexFacts): string =>
  JSON.stringify([settings, embedderDimensions])

/** The snapshot as of now: `known` itself while it still holds. */
export function readSnapshot(env: IndexEnv, known: IndexSnapshot | undefined): IndexSnapshot {
  const revision = readRevision(env)
  if (known?.revision === revision) return known
  const facts = readFacts(env) ?? emptyFacts
  const keepsSettings = known !== undefined && settingsText(known.facts) === settingsText(facts)
  const settings = keepsSettings
    ? known.settings
    : withDimensions(completeSettings(facts.settings), facts.embedderDimensions ?? {})
  return {
    revision,
    facts,
    settings,
    words: followWords(env, keepsSettings ? known.words : undefined, facts.vocabularyVersion),
    documentIds: readBitmap(env.main, mainKeys.documentIds),
    fieldIds: new Map(facts.fieldNames.map((name, id) => [name, id])),
    searchableFields: facts.fieldNames
      .flatMap((name, id) => {
        const weight = searchWeight(settings, name)
        return weight === undefined ? [] : [{ id, name, weight }]
      })
      .sort((left, right) => left.weight - right.weight || left.id - right.id),
  }
}

/** Embedders with the size of their vectors, which not all settings name. */
function withDimensions(settings: IndexSettings, dimensions: Readonly<Record<string, number>>): IndexSettings {
  const embedders = Object.entries(settings.embedders).map(([name, embedder]): [string, JsonObject] => {
    const known = dimensions[name]
    return [name, known === undefined ? embedder : { ...embedder, dimensions: known }]
  })
  return { ...settings, embedders: Object.fromEntries(embedders) }
}
