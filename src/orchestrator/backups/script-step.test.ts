import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeSteps, encodeStep, type Piece, pieceBytes, piecesOf, type ScriptStep } from './script-step.ts'

async function* chunksOf(text: string, size: number): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size)
}

async function cut(text: string, size: number): Promise<readonly Piece[]> {
  const pieces: Piece[] = []
  for await (const piece of piecesOf(chunksOf(text, size))) pieces.push(piece)
  return pieces
}

test('a script is read as it was written', () => {
  const piece = { bytes: Buffer.from('{"id":1}\n{"id":"ü\\n"}\n'), lines: 2, isLast: true }
  const steps: readonly ScriptStep[] = [
    { kind: 'settings', settings: { stopWords: ['a'] } },
    { kind: 'primary-key', primaryKey: 'id' },
    { kind: 'put', merge: true, primaryKey: 'id', received: 2, distinct: 2, piece },
    { kind: 'clear' },
    { kind: 'delete', provided: 1, piece: { bytes: Buffer.from('"1"\n'), lines: 1, isLast: true } },
  ]
  assert.deepEqual([...decodeSteps(Buffer.concat(steps.flatMap(encodeStep)))], steps)
})

test('a script that breaks off is refused', () => {
  const piece = { bytes: Buffer.from('"1"\n'), lines: 2, isLast: true }
  const whole = Buffer.concat([...encodeStep({ kind: 'delete', provided: 2, piece })])
  assert.throws(() => [...decodeSteps(whole)], SyntaxError)
})

test('payloads are cut between lines, without empty ones, however their bytes come', async () => {
  for (const size of [1, 3, 1_000]) {
    const [only, ...more] = await cut('{"a":1}\n\n  \r\n{"a":2}', size)
    assert.deepEqual(
      [only?.bytes.toString(), only?.lines, only?.isLast, more.length],
      ['{"a":1}\n{"a":2}\n', 2, true, 0],
    )
  }
  assert.deepEqual(await cut('\n', 1), [])
  const line = `"${'x'.repeat(pieceBytes / 2)}"\n`
  const pieces = await cut(line.repeat(4), 100_000)
  assert.deepEqual(
    pieces.map(({ lines, isLast }) => [lines, isLast]),
    [
      [2, false],
      [2, true],
    ],
  )
})
