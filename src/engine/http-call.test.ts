import assert from 'node:assert/strict'
import { test } from 'node:test'
import { quoteLongIntegers } from './http-call.ts'

// Two ids that differ by one are the same double; a delete by filter would hit the wrong document.
test('ids beyond a double keep every digit', () => {
  for (const [text, expected] of [
    ['{"id":9007199254740993}', '{"id":"9007199254740993"}'],
    ['[-9223372036854775808,18446744073709551615]', '["-9223372036854775808","18446744073709551615"]'],
    [
      '{"id":1,"a":"9007199254740993","b":"q\\"9007199254740993"}',
      '{"id":1,"a":"9007199254740993","b":"q\\"9007199254740993"}',
    ],
    [
      '[0.12345678901234567,1234567890123456.5,12345678901234567e3]',
      '[0.12345678901234567,1234567890123456.5,12345678901234567e3]',
    ],
  ] as const)
    assert.equal(quoteLongIntegers(text), expected)
})
