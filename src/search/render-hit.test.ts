import assert from 'node:assert/strict'
import { test } from 'node:test'
import { defaultSearchQuery, type SearchQuery } from '../api/search-query.ts'
import { completeSettings } from '../api/settings.ts'
import type { JsonObject } from '../lib/json.ts'
import { readHit } from './hit.ts'
import { projectionOf } from './projection.ts'
import { hitText } from './render-hit.ts'

const scores =
  '"_rankingScore":1.0,"_rankingScoreDetails":{"price:asc":{"order":0,"value":1.0},"_miroir_seq:asc":{"order":1,"value":"!!"}}'

function rendered(text: string, query: Partial<SearchQuery>, settings: JsonObject = {}): string {
  const index = {
    uid: 'books',
    settings: completeSettings(settings),
    primaryKey: 'id',
    coverage: [],
    spread: { shards: 2 },
    rules: [],
    pinPositions: [],
  }
  const whole = { ...defaultSearchQuery, ...query }
  return hitText(readHit(`${text.slice(0, -1)}${text === '{}' ? '' : ','}${scores}}`, 'node'), {
    projection: projectionOf(index, whole, []),
    showScore: whole.showRankingScore,
    showDetails: whole.showRankingScoreDetails,
    drops: [],
  })
}

test('values keep every byte: large numbers, trailing zeros, the order of keys', () => {
  const text =
    '{"b":18446744073709551615,"10":1.0,"2":1e2,"a":{"z":-0.0,"1":"\\u00e9"},"_miroir_seq":"!!","_miroir_shard":"!"}'
  assert.equal(rendered(text, {}), '{"b":18446744073709551615,"10":1.0,"2":1e2,"a":{"z":-0.0,"1":"\\u00e9"}}')
})

test('reserved fields go wherever nodes put them, and nothing of another name or place does', () => {
  const mark = '"_miroir_shard":"!(,?","_miroir_seq":"!,"'
  assert.equal(rendered(`{${mark},"a":{"b":1.0},"c":"x"}`, {}), '{"a":{"b":1.0},"c":"x"}')
  assert.equal(rendered(`{"a":"{",${mark},"c":1.0}`, {}), '{"a":"{","c":1.0}')
  assert.equal(rendered(`{"a":1.0,${mark}}`, {}), '{"a":1.0}')
  assert.equal(rendered(`{${mark}}`, {}), '{}')
  for (const text of [
    '{"a":{"_miroir_seq":"x"},"b":",\\"_miroir_seq\\":\\"y\\""}',
    '{"_miroir_seqs":"x","x_miroir_seq":"y"}',
    '{"a":["_miroir_seq","_miroir_shard"]}',
  ]) {
    assert.equal(rendered(`{${mark},${text.slice(1)}`, {}), text)
    assert.equal(rendered(`${text.slice(0, -1)},${mark}}`, {}), text)
  }
})

test('what the merge asked for is taken out again, in formatted fields as well', () => {
  const text =
    '{"id":1,"a":{"x":1,"y":2.0},"_miroir_seq":"!!","_formatted":{"id":"1","a":{"x":"1","y":"2.0"},"_miroir_seq":"!!"}}'
  const query = { attributesToRetrieve: ['a.y'], attributesToHighlight: ['a.y'] }
  assert.equal(rendered(text, query), '{"a":{"y":2.0},"_formatted":{"a":{"y":"2.0"}}}')
})

test('fields that the client does not display are neither shown nor named', () => {
  const settings = { displayedAttributes: ['id'] }
  const text = '{"id":1,"price":1.0,"_miroir_seq":"!!","_matchesPosition":{"price":[],"id":[]}}'
  assert.equal(
    rendered(text, { showRankingScoreDetails: true, showMatchesPosition: true }, settings),
    '{"id":1,"_matchesPosition":{"id":[]},"_rankingScoreDetails":{"<hidden-rule-0>":{"order":0,"value":"<hidden>"}}}',
  )
})

test('scores are shown when asked for, without the rule that orders ties', () => {
  const query = { showRankingScore: true, showRankingScoreDetails: true, attributesToRetrieve: [] }
  assert.equal(
    rendered('{}', query),
    '{"_rankingScore":1.0,"_rankingScoreDetails":{"price:asc":{"order":0,"value":1.0}}}',
  )
})
