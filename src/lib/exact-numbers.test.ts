import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exactText, parseExact, plainText } from './exact-numbers.ts'

test('whole numbers keep every digit, and everything else is as it was', () => {
  const texts = [
    '{"a":12345678901234567890,"b":[-9007199254740993,1],"c":{"d":9007199254740993}}',
    '{"text":": 12345678901234567890 ,","quoted":"\\",12345678901234567890,"}',
    '{"f":0.1234567890123457,"e":1234567890123456,"n":null}',
    '[]',
  ]
  for (const text of texts) assert.equal(exactText(JSON.stringify(parseExact(text))), text)
  const { a } = parseExact(texts[0]!) as { a: string }
  assert.equal(plainText(a), '12345678901234567890')
  assert.equal(plainText(7), '7')
})
