/** Questions from the first process to the ones beside it, and their answers, over the channel that Node gives them. */
import type { Worker } from 'node:cluster'
import type { Clock } from '../lib/clock.ts'
import { isObject, type Json } from '../lib/json.ts'

const marker = 'flapjackQuestion'
let lastNumber = 0

/** Answers of those that answer within `timeoutMs`; others are left out. */
export async function askProcesses(
  workers: Iterable<Worker>,
  question: Json,
  { timeoutMs, clock }: { readonly timeoutMs: number; readonly clock: Pick<Clock, 'sleep'> },
): Promise<readonly Json[]> {
  const waiting = new AbortController()
  const tooLate = clock.sleep(timeoutMs, waiting.signal).then(
    () => undefined,
    () => undefined,
  )
  const answers = await Promise.all([...workers].map((worker) => Promise.race([askOne(worker, question), tooLate])))
  waiting.abort(new Error('answered'))
  return answers.flatMap((answer) => (answer === undefined ? [] : [answer]))
}

function askOne(worker: Worker, question: Json): Promise<Json | undefined> {
  lastNumber += 1
  const number = lastNumber
  return new Promise((resolve) => {
    const end = (answer: Json | undefined) => {
      worker.off('message', onMessage)
      worker.off('exit', onExit)
      resolve(answer)
    }
    const onMessage = (message: unknown) => {
      if (isObject(message) && message[marker] === number) end(message.answer ?? null)
    }
    const onExit = () => end(undefined)
    worker.on('message', onMessage)
    worker.on('exit', onExit)
    worker.send({ [marker]: number, question }, (error) => {
      if (error !== null) end(undefined)
    })
  })
}

/** Answers what the first process asks this one. */
export function answerQuestions(answer: (question: Json) => Promise<Json>): void {
  process.on('message', (message: unknown) => {
    if (!isObject(message) || typeof message[marker] !== 'number') return
    const number = message[marker]
    answer(message.question ?? null).then(
      (told) => process.send?.({ [marker]: number, answer: told }),
      () => process.send?.({ [marker]: number, answer: null }),
    )
  })
}
