/** Asks one server the same of one index and of the same documents spread over several, and compares the answers. */
import { findDifference, steadyAnswer } from '../differential/comparison.ts'
import type { Question } from '../differential/questions.ts'
import { ask, loadWorld, type ServerAddress } from '../differential/server.ts'
import type { World } from '../differential/worlds.ts'
import { allowances, explain } from './allowances.ts'
import { causeOf } from './causes.ts'
import { documentQuestions } from './document-questions.ts'
import { kindOf } from './kinds.ts'
import { answerQuestion } from './read-path.ts'
import { askServer, type Layout, spreadWorld } from './spread-world.ts'
import type { Tally } from './tally.ts'

export interface RunOptions {
  readonly server: ServerAddress
  readonly layouts: readonly Layout[]
  readonly seed: number
  /** Of each world, beside its searches. */
  readonly documentQuestions: number
}

/** Foreign keys are followed by gateways; pinned documents have a test of their own. */
export const canBeSpread = ({ settings, plan }: World): boolean =>
  settings.foreignKeys === undefined && plan.hasPins !== true

export async function compareWorld(world: World, options: RunOptions, tally: Tally): Promise<void> {
  const { server, layouts, seed } = options
  await loadWorld(server, world)
  const spreads = await Promise.all(
    layouts.map(async (layout) => {
      const index = await spreadWorld(server, world, layout)
      return { layout, index, port: askServer(server, index) }
    }),
  )
  const applicable = (question: Question) =>
    allowances.filter(({ applies }) => applies(question, world)).map(({ row }) => row)
  const questions = [...world.questions, ...documentQuestions(world, seed, options.documentQuestions)]
  for (const [at, question] of questions.entries()) {
    const expected = await ask(server, question)
    await Promise.all(
      spreads.map(async ({ layout, index, port }) => {
        // Lists follow the order in which nodes met their documents.
        if (layout.isShuffled && question.path.includes('/documents')) return
        const answer = await answerQuestion(question, index, port)
        if (answer === undefined) return
        const actual = steadyAnswer(answer)
        const kind = kindOf(question, world, expected)
        const difference = findDifference(expected, actual)
        if (difference === undefined) return tally.add(kind, [], applicable(question))
        const isSame = (a: typeof expected, b: typeof expected) => findDifference(a, b) === undefined
        const rows = explain(question, world, expected, actual, isSame)
        if (rows !== null) return tally.add(kind, rows, applicable(question))
        const row = await causeOf(question, async (repeated) => [
          await ask(server, repeated),
          steadyAnswer((await answerQuestion(repeated, index, port)) ?? { status: 0, body: null }),
        ])
        tally.add(kind, row === null ? ['unexplained'] : [row], applicable(question))
        if (row !== null) return
        const place = `${world.uid} #${at}, ${layout.shards} shards (${world.name})`
        tally.unexplained.push(`${place} ${difference}\n    ${question.path} ${JSON.stringify(question.body)}`)
      }),
    )
  }
}
