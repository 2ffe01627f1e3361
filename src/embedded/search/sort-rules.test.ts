import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryReader } from '../../../test/embedded/memory-reader.ts'
import { seededRandom } from '../../lib/random.ts'
import { compareSortValues } from './score.ts'
import { sortDocuments } from './sort-documents.ts'
import { sortedBuckets } from './sort-rules.ts'

// Few documents are sorted by their own values, many along the field's values: both must agree.
test('many documents are sorted as few are, in both directions', () => {
  const seed = 3
  const random = seededRandom(seed)
  const documents = Array.from({ length: 3000 }, (_, id) => {
    const kind = random.integer(4)
    if (kind === 0) return { id }
    if (kind === 1) return { id, v: `s${random.integer(300)}` }
    return { id, v: kind === 2 ? random.integer(900) : [random.integer(900), 'word', random.integer(900)] }
  })
  const reader = new MemoryReader(documents, { sortableAttributes: ['v'] })
  const all = reader.documentIds
  for (const ascending of [true, false]) {
    const values: (number | string)[] = []
    const seen = new Set<number>()
    for (const { value, docids } of sortedBuckets(reader, 'v', ascending, all)) {
      values.push(value)
      for (const docid of docids) {
        assert.ok(!seen.has(docid), `seed ${seed}`)
        seen.add(docid)
        const own = documents[docid]?.v
        const numbers = [own].flat().filter((item) => typeof item === 'number')
        const expected = numbers.length === 0 ? own : ascending ? Math.min(...numbers) : Math.max(...numbers)
        assert.equal(value, expected, `seed ${seed}`)
      }
    }
    assert.equal(seen.size, documents.filter((document) => 'v' in document).length)
    assert.deepEqual(
      values,
      [...values].sort((left, right) => -compareSortValues(ascending, left, right)),
    )
  }
})

test('a listing of documents is sorted by several fields, the first one first', () => {
  const reader = new MemoryReader(
    [{ id: 1, a: 1, b: 'x' }, { id: 2, a: 2, b: 'y' }, { id: 3, a: 1, b: 'y' }, { id: 4 }],
    { sortableAttributes: ['a', 'b'], rankingRules: [] },
  )
  const page = { offset: 0, limit: 10 }
  assert.deepEqual(sortDocuments(reader, ['a:asc', 'b:desc'], reader.documentIds, page), [2, 0, 1, 3])
  assert.deepEqual(sortDocuments(reader, ['a:desc'], reader.documentIds, { offset: 1, limit: 2 }), [0, 2])
  assert.throws(() => sortDocuments(reader, ['c:asc'], reader.documentIds, page), {
    code: 'invalid_document_sort',
    message: 'Attribute `c` is not sortable. Available sortable attributes are: `a, b`.',
  })
})
