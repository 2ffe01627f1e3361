import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { JsonObject } from '../lib/json.ts'
import { completeFeatures } from './features.ts'
import {
  completeSettings,
  decodeSetting,
  decodeSettings,
  foldedMistake,
  foldSettings,
  renderSetting,
  renderSettings,
  resetSettings,
} from './settings.ts'

const plain = completeFeatures({})
const fold = (...changes: readonly JsonObject[]) =>
  changes.reduce((before, change) => foldSettings(before, decodeSettings(change, plain)), {} as JsonObject)

// M-D2, in the order in which `GET /settings` lists them.
const defaults = {
  displayedAttributes: ['*'],
  searchableAttributes: ['*'],
  filterableAttributes: [],
  sortableAttributes: [],
  rankingRules: ['words', 'typo', 'proximity', 'attributeRank', 'sort', 'wordPosition', 'exactness'],
  stopWords: [],
  nonSeparatorTokens: [],
  separatorTokens: [],
  dictionary: [],
  synonyms: {},
  distinctAttribute: null,
  proximityPrecision: 'byWord',
  typoTolerance: {
    enabled: true,
    minWordSizeForTypos: { oneTypo: 5, twoTypos: 9 },
    disableOnWords: [],
    disableOnAttributes: [],
    disableOnNumbers: false,
  },
  faceting: { maxValuesPerFacet: 100, sortFacetValuesBy: { '*': 'alpha' } },
  pagination: { maxTotalHits: 1000 },
  embedders: {},
  searchCutoffMs: null,
  localizedAttributes: null,
  facetSearch: true,
  prefixSearch: 'indexingTime',
}

test('settings that were never changed are the defaults, in order', () => {
  assert.equal(JSON.stringify(renderSettings({}, plain)), JSON.stringify(defaults))
})

test('chat and foreign keys show with their flags only', () => {
  const keys = Object.keys(renderSettings({}, completeFeatures({ chatCompletions: true, foreignKeys: true })))
  assert.equal(keys[4], 'foreignKeys')
  assert.equal(keys.at(-1), 'chat')
  assert.deepEqual(renderSetting({}, 'foreignKeys'), [])
})

test('absent is unchanged, null is reset, objects merge key by key', () => {
  const settings = fold(
    { stopWords: ['z', 'a', 'a'], typoTolerance: { minWordSizeForTypos: { oneTypo: 3 } }, synonyms: { b: ['y', 'x'] } },
    { typoTolerance: { enabled: false }, synonyms: { c: ['d'] } },
  )
  const shown = renderSettings(settings, plain)
  assert.deepEqual(shown.stopWords, ['a', 'z'])
  assert.deepEqual(shown.synonyms, { c: ['d'] }, 'a map of words is replaced')
  assert.deepEqual(shown.typoTolerance, {
    ...defaults.typoTolerance,
    enabled: false,
    minWordSizeForTypos: { oneTypo: 3, twoTypos: 9 },
  })
  const reset = foldSettings(settings, decodeSettings({ typoTolerance: { minWordSizeForTypos: null } }, plain))
  assert.deepEqual(renderSetting(reset, 'typoTolerance'), { ...defaults.typoTolerance, enabled: false })
  assert.equal(
    JSON.stringify(renderSettings(foldSettings(reset, resetSettings(undefined, plain)), plain)),
    JSON.stringify(defaults),
  )
})

test('folding a change twice changes nothing more', () => {
  const change = decodeSettings(
    { faceting: { maxValuesPerFacet: 5 }, embedders: { a: { source: 'userProvided', dimensions: 3 }, b: null } },
    plain,
  )
  const once = foldSettings({ embedders: { b: { source: 'userProvided', dimensions: 1 } } }, change)
  assert.deepEqual(foldSettings(once, change), once)
  assert.deepEqual(once.embedders, { a: { source: 'userProvided', dimensions: 3 } })
})

// Measured on Meilisearch 1.50.0.
test('orders of facets are replaced whole, and always name `*`', () => {
  const settings = fold(
    { faceting: { sortFacetValuesBy: { b: 'count', a: 'count' }, maxValuesPerFacet: 5 } },
    { faceting: { sortFacetValuesBy: { '*': 'count', d: 'alpha' } } },
  )
  assert.deepEqual(renderSetting(settings, 'faceting'), {
    maxValuesPerFacet: 5,
    sortFacetValuesBy: { '*': 'count', d: 'alpha' },
  })
})

test('a star among the shown attributes means all; names are not repeated', () => {
  const settings = completeSettings(fold({ displayedAttributes: ['a', '*'], searchableAttributes: ['a', 'a'] }))
  assert.deepEqual(settings.displayedAttributes, ['*'])
  assert.deepEqual(settings.searchableAttributes, ['a'])
})

test('filterable rules keep their order and get their default features', () => {
  const settings = fold({ filterableAttributes: ['z', { attributePatterns: ['a', 'b*'] }, 'a'] })
  const rule = {
    attributePatterns: ['a', 'b*'],
    features: { facetSearch: false, filter: { equality: true, comparison: false } },
  }
  assert.deepEqual(renderSetting(settings, 'filterableAttributes'), ['z', rule, 'a'])
  const [first, second] = completeSettings(settings).filterableAttributes
  assert.deepEqual(first, {
    attributePatterns: ['z'],
    features: { facetSearch: true, filter: { equality: true, comparison: true } },
    plain: true,
  })
  assert.deepEqual(second, { ...rule, plain: false })
})

test('locales are shown by their three letters', () => {
  const settings = fold({ localizedAttributes: [{ attributePatterns: ['a'], locales: ['eng', 'fr', 'zh', 'cmn'] }] })
  assert.deepEqual(renderSetting(settings, 'localizedAttributes'), [
    { attributePatterns: ['a'], locales: ['eng', 'fra', 'zho', 'cmn'] },
  ])
})

test('secrets of embedders never leave in clear', () => {
  const settings = fold({ embedders: { a: { source: 'openAi', apiKey: 'sk-abcdefghijklmnop' } } })
  const shown = JSON.stringify(renderSettings(settings, plain))
  assert.ok(!shown.includes('abcdefghijklmnop'))
  assert.ok(shown.includes('"apiKey":"skXXXX..."'))
})

test('what only shows after merging fails with the words of Meilisearch', () => {
  const change = decodeSetting('typoTolerance', { minWordSizeForTypos: { twoTypos: 2 } }, plain)
  assert.equal(
    foldedMistake('s', {}, change)?.message,
    'Index `s`: `minWordSizeForTypos` setting is invalid. `oneTypo` and `twoTypos` fields should be between `0` and `255`, and `twoTypos` should be greater or equals to `oneTypo` but found `oneTypo: 5` and twoTypos: 2`.',
  )
  const before = fold({ embedders: { u: { source: 'userProvided', dimensions: 3, binaryQuantized: true } } })
  const undo = decodeSetting('embedders', { u: { binaryQuantized: false } }, plain)
  assert.match(foldedMistake('s', before, undo)?.message ?? '', /Cannot disable the binary quantization/)
  assert.equal(foldedMistake('s', before, decodeSetting('stopWords', ['a'], plain)), null)
})

test('names that objects inherit are names like any other', () => {
  const settings = fold({ synonyms: JSON.parse('{"__proto__":["a"],"constructor":["b"]}') })
  assert.equal(JSON.stringify(renderSetting(settings, 'synonyms')), '{"__proto__":["a"],"constructor":["b"]}')
})
