import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeDeleteBatch, idText } from './documents-query.ts'
import { readIdList } from './id-list.ts'

async function idsOf(text: string): Promise<readonly string[]> {
  const ids: string[] = []
  for await (const group of readIdList(Buffer.from(text))) ids.push(...group)
  return ids
}

const many = Array.from({ length: 40_000 }, (_, at) => (at % 3 === 0 ? at : `a,"]\\${at}é`))

test('a long list of ids is the same as when it is read at once', async () => {
  for (const text of [JSON.stringify(many), ` \n${JSON.stringify(many, null, 2)}\t`, '[]', '[1,"b",[2],{"c":"]"}]'])
    assert.deepEqual(await idsOf(text), decodeDeleteBatch(Buffer.from(text)).map(idText))
})

test('what is wrong with a long list is told as of a short one', async () => {
  const whole = JSON.stringify(many)
  for (const text of [
    whole.slice(0, -1),
    `${whole}]`,
    `${whole.slice(0, -1)},]`,
    whole.replace(',30000,', ',,30000,'),
    whole.replace('"a,', '"a\n,'),
    `{"a":${whole}}`,
    `\n ${JSON.stringify(many, null, 2).replace('30003', '3 3')}`,
    whole.replace('30003', '[tru]'),
    `${whole.slice(0, -9)}\\"`,
  ]) {
    let expected: unknown
    try {
      decodeDeleteBatch(Buffer.from(text))
    } catch (error) {
      expected = error
    }
    assert.ok(expected instanceof Error)
    await assert.rejects(idsOf(text), { message: expected.message })
  }
})

test('three hundred thousand ids do not hold up the event loop, right or wrong', async () => {
  const whole = JSON.stringify(Array.from({ length: 300_000 }, (_, at) => `document-${at}`))
  const text = Buffer.from(whole)
  // CPU time, since the machine may be busy with something else.
  let longestMs = 0
  let last = process.cpuUsage()
  let isOver = false
  const watch = (async () => {
    while (!isOver) {
      await new Promise((resolve) => setImmediate(resolve))
      const { user, system } = process.cpuUsage(last)
      longestMs = Math.max(longestMs, (user + system) / 1_000)
      last = process.cpuUsage()
    }
  })()
  let count = 0
  for await (const group of readIdList(text)) count += group.length
  await assert.rejects(readIdList(Buffer.from(whole.slice(0, -1))).next(), /EOF while parsing a list/)
  isOver = true
  await watch
  assert.equal(count, 300_000)
  assert.ok(longestMs < 50, `${longestMs} ms`)
})
