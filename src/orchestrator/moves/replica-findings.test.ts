import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ReplicaFinding } from '../../store/replica-checks.ts'
import { type FoundPair, judge } from './replica-findings.ts'

const named = (node: string) => ({ node, physicalUid: `${node}-books` })
const [a, b, c] = [named('a'), named('b'), named('c')]
const pair = (replica: typeof a, differing: readonly string[] = [], settingsDiffer = false): FoundPair => ({
  ...{ reference: a, replica, differing, settingsDiffer },
})

/** Passes one after the other; answers what was rebuilt at each. */
function passes(found: readonly (readonly FoundPair[])[], mayRebuild = true) {
  let findings: readonly ReplicaFinding[] = []
  const rebuilt = found.map((pairs) => {
    const verdict = judge(findings, pairs, [a, b, c], mayRebuild)
    findings = verdict.findings
    return verdict.rebuild?.node
  })
  return { rebuilt, findings }
}

test('a replica is built anew when two passes in a row find that it differs, and not before', () => {
  assert.deepEqual(passes([[pair(b, ['7'])], [pair(b)], [pair(b, ['7'])]]).rebuilt, [undefined, undefined, undefined])
  assert.deepEqual(passes([[pair(b, ['7'])], [pair(b, ['8'])]]).rebuilt, [undefined, 'b'])
  assert.deepEqual(passes([[pair(b, [], true)], [pair(b, [], true)]]).rebuilt, [undefined, 'b'])
})

test('if it differs even then, what it is compared with is built anew, and behind that nothing any more', () => {
  const wrong = [pair(b, ['7'])]
  // In the third pass it is being filled.
  const { rebuilt, findings } = passes([wrong, wrong, [], wrong, wrong, wrong, wrong, wrong])
  assert.deepEqual(rebuilt, [undefined, 'b', undefined, undefined, 'a', undefined, undefined, undefined])
  assert.equal(findings[0]?.times, 3)
})

test('of several replicas that differ one is built anew at a time', () => {
  const wrong = [pair(b, ['7']), pair(c, ['7'])]
  assert.deepEqual(passes([wrong, wrong, [pair(c, ['7'])]]).rebuilt, [undefined, 'b', 'c'])
})

test('shards of one replica are one finding, which names a few documents; nothing is built anew where that is switched off', () => {
  const many = Array.from({ length: 30 }, (_, id) => String(id))
  const { rebuilt, findings } = passes([[pair(b, many), pair(b, [], true)], [pair(b, many)]], false)
  assert.deepEqual(rebuilt, [undefined, undefined])
  assert.deepEqual(
    findings.map(({ node, times, differing }) => [node, times, differing.length]),
    [['b', 2, 10]],
  )
})
