/** What the differential test asks about: corpora, each under several settings, and the questions, all from one seed. */
import { join } from 'node:path'
import type { Json, JsonObject } from '../../../src/lib/json.ts'
import { type Chance, chanceOf } from './chance.ts'
import { type CorpusPlan, makeCorpus, makePeople } from './corpora.ts'
import { makeQuestions, type Question } from './questions.ts'
import { baseSettings, peopleOf, type Settings, variations } from './settings.ts'
import { words } from './words.ts'

export interface Change {
  readonly method: 'POST' | 'PATCH'
  readonly path: string
  readonly body: Json
}

export interface World {
  /** Unique within a run; also the uid of the index. */
  readonly uid: string
  readonly name: string
  readonly plan: CorpusPlan
  readonly documents: readonly JsonObject[]
  readonly settings: Settings
  /** Changes beside the index itself, one task each, made after it is filled. */
  readonly more: readonly Change[]
  readonly questions: readonly Question[]
}

const plans: readonly CorpusPlan[] = [
  { name: 'english', languages: ['english'], size: 220 },
  { name: 'english, short', languages: ['english'], size: 300, wordsMax: 6 },
  { name: 'english, long', languages: ['english'], size: 80, wordsMax: 150 },
  { name: 'english, vectors', languages: ['english'], size: 40, dimensions: 4 },
  { name: 'french', languages: ['french', 'english'], size: 150 },
  { name: 'german', languages: ['german'], size: 150 },
  { name: 'spanish', languages: ['spanish'], size: 150 },
  { name: 'swedish', languages: ['swedish', 'english'], size: 120 },
  { name: 'turkish', languages: ['turkish'], size: 120 },
  { name: 'vietnamese', languages: ['vietnamese', 'english'], size: 120 },
  { name: 'russian', languages: ['russian', 'english'], size: 150 },
  { name: 'greek', languages: ['greek'], size: 150 },
  { name: 'hebrew', languages: ['hebrew'], size: 120 },
  { name: 'arabic', languages: ['arabic'], size: 120, settingsMax: 1 },
  { name: 'chinese', languages: ['chinese', 'english'], size: 120 },
  { name: 'thai', languages: ['thai', 'english'], size: 120, settingsMax: 1 },
  {
    name: 'many scripts',
    languages: ['english', 'russian', 'greek', 'hebrew', 'arabic', 'french', 'german'],
    size: 200,
  },
  { name: 'few documents', languages: ['english'], size: 12 },
  { name: 'vectors of bits', languages: ['english'], size: 40, dimensions: 70, isQuantised: true, settingsMax: 1 },
  { name: 'shapes', languages: ['english'], size: 80, hasShapes: true, settingsMax: 1 },
  { name: 'people', languages: ['english'], size: 60, hasPeople: true, settingsMax: 1 },
  { name: 'pins', languages: ['english'], size: 60, hasPins: true, settingsMax: 1 },
]

export interface WorldsOptions {
  readonly seed: number
  /** Before each uid. Default none. */
  readonly prefix?: string
  /** Settings for each corpus. Default 3. */
  readonly settingsEach?: number
  /** Questions for each world. Default 64. */
  readonly questionsEach?: number
}

/** Each corpus under several settings; every variation of settings appears before one appears again. */
export function makeWorlds({
  seed,
  prefix = '',
  settingsEach = 3,
  questionsEach = 64,
}: WorldsOptions): readonly World[] {
  const order = chanceOf(seed).shuffle(variations)
  let next = 0
  return plans.flatMap((plan, at) =>
    Array.from({ length: Math.min(settingsEach, plan.settingsMax ?? settingsEach) }, (_, round) => {
      const chance = chanceOf(seed * 1_000 + at * 10 + round)
      const first = order[next % order.length]!
      next += 1
      const second = chance.is(0.4) ? chance.pick(variations) : undefined
      const picked = second === undefined || second === first ? [first] : [first, second]
      const uid = `${prefix}w${at}-${round}`
      const settings: Record<string, Json> = { ...baseSettings(uid, plan) }
      for (const variation of picked) Object.assign(settings, variation.make(chance, plan.languages))
      return makeWorld(chance, plan, uid, picked.map(({ name }) => name).join(' + '), settings, questionsEach)
    }),
  )
}

function makeWorld(
  chance: Chance,
  plan: CorpusPlan,
  uid: string,
  name: string,
  settings: Settings,
  questionsEach: number,
): World {
  const documents = makeCorpus(chance, plan)
  const questions = makeQuestions(chance, { uid, plan, documents, settings }, questionsEach)
  const more = [
    ...(plan.hasPeople === true ? peopleIndex(chance, uid) : []),
    ...(plan.hasPins === true ? pinRules(chance, uid) : []),
  ]
  return { uid, name: `${plan.name}: ${name}`, plan, documents, settings, more, questions }
}

function peopleIndex(chance: Chance, own: string): readonly Change[] {
  const uid = peopleOf(own)
  return [
    { method: 'PATCH', path: `/indexes/${uid}/settings`, body: { filterableAttributes: ['country', 'age', 'name'] } },
    { method: 'POST', path: `/indexes/${uid}/documents?primaryKey=id`, body: [...makePeople(chance)] },
  ]
}

/** Rules for all queries, for those with a word and for the empty one; positions within and beyond the first page. */
function pinRules(chance: Chance, indexUid: string): readonly Change[] {
  const pin = (): Json => ({
    selector: { indexUid, id: String(chance.between(1, 65)) },
    action: { type: 'pin', position: chance.pick([0, 1, 2, 5, 30]) },
  })
  const word = () => chance.pickEarly(words.english)
  const conditions: readonly Json[] = [
    {},
    { query: { words: word() } },
    { query: { words: word() } },
    { query: { isEmpty: true } },
  ]
  return conditions.map((condition, at) => ({
    method: 'PATCH' as const,
    path: `/dynamic-search-rules/${indexUid}-${at}`,
    body: {
      active: true,
      precedence: at,
      conditions: condition,
      actions: Array.from({ length: chance.between(1, 2) }, pin),
    },
  }))
}

/** The seed and the place of the recording that is kept with the sources. */
export const recordedSeed = 150
export const recordingPath = join(import.meta.dirname, 'recording.jsonl.gz')
