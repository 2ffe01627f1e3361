import assert from 'node:assert/strict'
import { test } from 'node:test'
import { coveredLength, normalise, normaliseFacet } from './normalise.ts'
import { script } from './scripts.ts'
import { createTokenizer, eachWord, positionBucket, type TokenizerOptions } from './tokenize.ts'

const none: TokenizerOptions = { separatorTokens: [], nonSeparatorTokens: [], dictionary: [], stopWords: [] }

function words(text: string, options: Partial<TokenizerOptions> = {}): string[] {
  const found: string[] = []
  eachWord(createTokenizer({ ...none, ...options }).tokenize(text), 0, (word, position) => {
    found.push(`${word}@${position}`)
  })
  return found
}

test('accents and case do not matter to a word', () => {
  assert.equal(normalise('Ŵôřlḑôle'), 'worldole')
  assert.equal(normalise('Westfália'), 'westfalia')
  assert.equal(normalise('Gläss'), 'glass')
  assert.deepEqual(words('Cœur Đà Nẵng'), ['coeur@0', 'da@1', 'nang@2'])
})

test('facet values keep their accents, decomposed and in lower case', () => {
  assert.equal(normaliseFacet('  Café '), 'café'.normalize('NFKD'))
})

test('a full stop and a space end a sentence, a full stop alone does not', () => {
  assert.deepEqual(words('J.K. Rowling'), ['j@0', 'k@1', 'rowling@9'])
  assert.deepEqual(words('3.14 a_b C++'), ['3@0', '14@1', 'a@2', 'b@3', 'c@4'])
})

test('leading separators take no position', () => {
  assert.deepEqual(words('!? hello, world'), ['hello@0', 'world@8'])
})

test('a stop word takes a position and is not indexed', () => {
  assert.deepEqual(words('war of worlds', { stopWords: ['of'] }), ['war@0', 'worlds@2'])
})

test('stop words with accents are known in any way of writing the accents', () => {
  assert.deepEqual(words('mưa với nắng', { stopWords: ['với'] }), ['mua@0', 'nang@2'])
  // But not where the reference takes the stop word for Swedish or Persian.
  assert.deepEqual(words('på väg', { stopWords: ['på'] }), ['pa@0', 'vag@1'])
  assert.deepEqual(words('في بيت', { stopWords: ['في'] }), ['في@0', 'بيت@1'])
})

test('separators can be added and taken away, and dictionary entries stay whole', () => {
  assert.deepEqual(words('a@b #c', { nonSeparatorTokens: ['@'] }), ['a@b@0', 'c@1'])
  assert.deepEqual(words('aXXb', { separatorTokens: ['XX'] }), ['a@0', 'b@1'])
  assert.deepEqual(words('J. R. R. Tolkien', { dictionary: ['J. R. R.'] }), ['j. r. r.@0', 'tolkien@1'])
  assert.deepEqual(words('Joan', { dictionary: ['J. R. R.'] }), ['joan@0'])
})

test('scripts are told apart and written without spaces are cut into words', () => {
  assert.deepEqual(words('hello мир'), ['hello@0', 'мир@1'])
  assert.ok(words('東京都に住む').length > 1)
  assert.deepEqual(words('人人生而自由'), ['人人@0', '生@1', '而@2', '自由@3'])
  assert.ok(words('ประเทศไทยสวยงาม').length > 1)
})

test('tokens cover the text without gaps', () => {
  const text = 'Ünïcode… text, with 東京 and "quotes"!'
  const tokens = createTokenizer(none).tokenize(text)
  assert.equal(tokens.map((token) => text.slice(token.start, token.end)).join(''), text)
})

test('a prefix covers whole characters of the source', () => {
  assert.equal(coveredLength('cœur', script.latin, 2), 2)
  assert.equal(coveredLength('Ŵôřld', script.latin, 3), 3)
  assert.equal(coveredLength('w\u0302orld', script.latin, 1), 1)
})

test('far positions share buckets', () => {
  assert.deepEqual([0, 15, 16, 23, 24, 25, 32, 33, 65_535].map(positionBucket), [0, 15, 24, 24, 32, 32, 32, 64, 65_535])
})
