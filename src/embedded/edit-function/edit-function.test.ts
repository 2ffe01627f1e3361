import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { isObject, type JsonObject } from '../../lib/json.ts'
import { joinMembers, splitMembers } from '../../lib/json-cut.ts'
import { checkFunction, compileEdit, ScriptError, SyntaxMistake } from './edit-function.ts'
import { valueJson, valueOfJson } from './value-json.ts'

interface Vector {
  readonly function: string
  readonly documents: readonly string[]
  readonly context?: string
  readonly answer: { readonly documents?: readonly string[]; readonly error?: string; readonly refused?: string }
}

/** What a real Meilisearch 1.50 made of each function: scripts/record-edits.ts. */
const vectors = readFileSync(new URL('../../../test/vectors/edit-functions.jsonl', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => JSON.parse(line) as Vector)

function answerOf({ function: text, documents, context }: Vector): Vector['answer'] {
  try {
    checkFunction(text)
  } catch (error) {
    if (error instanceof SyntaxMistake) return { refused: error.message }
    throw error
  }
  try {
    const edit = compileEdit(text, context ?? null)
    const after: string[] = []
    for (const document of documents) {
      const result = edit.edit(splitMembers(document))
      if (result.kind === 'no-object')
        return { error: 'Index `edits`: Document editions must keep documents as objects' }
      if (result.kind === 'unchanged') after.push(document)
      if (result.kind === 'changed') after.push(joinMembers(result.members))
    }
    return { documents: after.map((document) => valueJson(valueOfJson(document))) }
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error
    const text = `Document edition runtime error encountered while running the function: ${error.message}`
    return { error: `Index \`edits\`: ${text}` }
  }
}

/** Which ids a document may have is judged where it is stored. */
const isAboutIds = ({ answer }: Vector): boolean =>
  /primary key|Document identifier|doesn't have a/.test(answer.error ?? '')

test('functions make of documents what Meilisearch makes of them, and fail in its words', () => {
  const different: JsonObject[] = []
  for (const vector of vectors) {
    if (isAboutIds(vector)) continue
    const answer = answerOf(vector)
    if (!isDeepEqual(answer, vector.answer))
      different.push({
        function: vector.function,
        answer: JSON.stringify(answer),
        expected: JSON.stringify(vector.answer),
      })
  }
  assert.deepEqual(different, [])
  assert.ok(vectors.length > 200 && isObject(vectors[0]))
})

const isDeepEqual = (left: unknown, right: unknown): boolean => JSON.stringify(left) === JSON.stringify(right)
