import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sequenceText } from '../api/reserved-fields.ts'
import { readHit } from './hit.ts'
import { withPlaceBuckets } from './place-buckets.ts'

/** Degrees of latitude for so many metres. */
const degrees = (metres: number) => (metres / 6_371_000) * (180 / Math.PI)

const hit = (id: number, metres: number, shown: number) =>
  readHit(
    `{"id":${id},"_geo":{"lat":${degrees(metres)},"lng":0},"_rankingScore":1.0,"_rankingScoreDetails":${JSON.stringify({
      '_geoPoint(0, 0):asc': { order: 0, value: { lat: degrees(shown), lng: 0 }, distance: shown },
      '_miroir_seq:asc': { order: 1, value: sequenceText(1, id) },
    })}}`,
    'node',
  )
const ids = (hits: readonly { readonly text: string }[]) =>
  hits.map(({ text }) => (JSON.parse(text) as { id: number }).id)

test('documents within a metre of the first are equally far, wherever a node began its groups', () => {
  // The second node took 100.5 for the first of a group that holds 101.2 as well; one node would begin at 100.
  const hits = withPlaceBuckets([hit(9, 100, 100), hit(3, 100.5, 100.5), hit(1, 101.2, 100.5)])
  assert.deepEqual(ids(hits), [3, 9, 1])
  const distances = hits.map(({ details }) => Math.round(Number(details[0]?.fields.distance) * 10) / 10)
  assert.deepEqual(distances, [100, 100, 101.2])
})
