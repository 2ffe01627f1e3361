import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Json } from '../lib/json.ts'
import { extract, InjectionFault, inject, parseInjectedValue } from './injected-value.ts'

const parse = (template: Json) => parseInjectedValue(template, 'request', '{{text}}')

test('one text goes to its place, several are repeated', () => {
  assert.deepEqual(inject(parse({ a: 1, b: ['x', '{{text}}'] }), ['hi', 'unused']), { a: 1, b: ['x', 'hi'] })
  const several = parse({ model: 'm', input: [{ text: '{{text}}' }, '{{..}}'] })
  assert.deepEqual(inject(several, ['a', 'b']), { model: 'm', input: [{ text: 'a' }, { text: 'b' }] })
})

test('a template that cannot be understood is refused with the place of the mistake', () => {
  for (const [template, message] of [
    [{ a: 'x' }, 'in `request`: "{{text}}" not found'],
    [
      { a: '{{text}}', b: ['{{text}}'] },
      'in `request.b[0]`: Found "{{text}}", but it was already present in `request.a`',
    ],
    [{ a: ['x', '{{..}}'] }, 'in `request.a[0]`: Expected "{{text}}" inside of the repeated value'],
    [{ a: ['{{text}}', 'x', '{{..}}'] }, 'in `request.a`: "{{..}}" expected at position #1, but found at position #2'],
    [{ a: '{{..}}', b: '{{text}}' }, 'in `request.a`: "{{..}}" appears outside of an array'],
    [
      [[['{{text}}', '{{..}}'], '{{..}}']],
      'in `request[0]`: "{{..}}" appears nested inside of a value that is itself repeated',
    ],
    [
      { a: '{{text}}', b: ['{{text}}', '{{..}}'] },
      'in `request.a`: Found "{{text}}", but it was already present in `request.b[0]` (repeated)',
    ],
  ] as const)
    assert.throws(() => parse(template), new InjectionFault(message))
})

test('values come out where the template has them, and what is missing is told with a hint', () => {
  const answer = parseInjectedValue({ data: [{ embedding: '{{embedding}}' }, '{{..}}'] }, 'response', '{{embedding}}')
  const take = (value: Json) => extract(answer, value, 'response', '{{embedding}}').map(({ value: found }) => found)
  assert.deepEqual(take({ data: [{ embedding: [1] }, { embedding: [2] }] }), [[1], [2]])
  assert.throws(
    () => take({ date: [] }),
    /expects key "data", which is missing in response\n {2}- Hint: `response` has key `date`, did you mean `response.date`/,
  )
  assert.throws(() => take({ data: 3 }), /expects `data` to be an array with at least 1 item\(s\) but server sent 3$/)
})
