/** What the differential test asks about: corpora, each under several settings, and the questions, all from one seed. */
import { join } from 'node:path'
import type { Json, JsonObject } from '../../../src/lib/json.ts'
import { type Chance, chanceOf } from './chance.ts'
import { type CorpusPlan, makeCorpus } from './corpora.ts'
import { makeQuestions, type Question } from './questions.ts'
import { baseSettings, type Settings, variations } from './settings.ts'

export interface World {
  /** Unique within a run; also the uid of the index. */
  readonly uid: string
  readonly name: string
  readonly plan: CorpusPlan
  readonly documents: readonly JsonObject[]
  readonly settings: Settings
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
      const settings: Record<string, Json> = { ...baseSettings(plan.dimensions) }
      for (const variation of picked) Object.assign(settings, variation.make(chance, plan.languages))
      return makeWorld(
        chance,
        plan,
        `${prefix}w${at}-${round}`,
        picked.map(({ name }) => name).join(' + '),
        settings,
        questionsEach,
      )
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
  return { uid, name: `${plan.name}: ${name}`, plan, documents, settings, questions }
}

/** The seed and the place of the recording that is kept with the sources. */
export const recordedSeed = 150
export const recordingPath = join(import.meta.dirname, 'recording.jsonl.gz')
