import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../lib/random.ts'
import { type DocumentCheck, type DocumentFormat, readDocuments } from './document-payload.ts'
import { ApiError } from './errors.ts'

const json: DocumentFormat = { kind: 'json' }
const ndjson: DocumentFormat = { kind: 'ndjson' }
const csv: DocumentFormat = { kind: 'csv', delimiter: ',' }
const fresh: DocumentCheck = {
  uid: 't',
  primaryKey: null,
  reserved: ['_ours'],
  geo: false,
  shapes: false,
  embedders: {},
}

async function* pieces(bytes: Buffer, length: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length)
}

/** What the reader made of a payload: lines and counts, or the refusal. */
async function read(
  payload: string | Buffer,
  format: DocumentFormat,
  check: DocumentCheck | null = fresh,
  length = 1e9,
) {
  const documents = readDocuments(pieces(Buffer.from(payload), length), format, check)
  let lines = ''
  try {
    for (;;) {
      const next = await documents.next()
      if (next.done) return { lines, ...next.value, refusal: next.value.refusal?.message }
      lines += Buffer.from(next.value).toString()
    }
  } catch (error) {
    assert.ok(error instanceof ApiError, String(error))
    return { code: error.code, message: error.message }
  }
}

const latin = (text: string) => Buffer.from(text, 'latin1')
const idMessage = (id: string) =>
  `Document identifier \`${id}\` is invalid. A document identifier can be of type integer or string, only composed of alphanumeric characters (a-z A-Z 0-9), hyphens (-) and underscores (_), and can not be more than 511 bytes.`

// Measured on Meilisearch 1.50.0, but for what stands behind a whole array and for members that are no objects.
const malformed: readonly (readonly [string | Buffer, DocumentFormat, string])[] = [
  ['hello', json, 'expected value at line 1 column 1'],
  ['12', json, 'data are neither an object nor a list of objects'],
  ['"hello"', json, 'data are neither an object nor a list of objects'],
  [' ', json, 'EOF while parsing a value at line 1 column 1'],
  ['{"id":1}{"id":2}', json, 'trailing characters at line 1 column 9'],
  ['[{"id":1}] x', json, 'trailing characters at line 1 column 12'],
  ['[1]', json, 'invalid type: integer `1`, expected a map at line 1 column 1'],
  ['[[{"id":1}]]', json, 'invalid type: sequence, expected a map at line 1 column 0'],
  ['[{"id":1,}]', json, 'key must be a string at line 1 column 10'],
  ['[{"a":[1,]}]', json, 'expected value at line 1 column 10'],
  ['{"id":1,}', json, 'trailing comma at line 1 column 9'],
  ['{"id":1,"a":[1,]}', json, 'trailing comma at line 1 column 16'],
  ['{"id":1,', json, 'EOF while parsing a value at line 1 column 8'],
  ['{"id":1,"a":"\\ud800"}', json, 'unexpected end of hex escape at line 1 column 20'],
  ['{"id":1,"a":["\\udfff"]}', json, 'lone leading surrogate in hex escape at line 1 column 20'],
  ['{"id":1,"a":1e999}', json, 'number out of range at line 1 column 17'],
  ['[1,2]', json, 'trailing characters at line 1 column 4'],
  ['[ 1, 2 ]', json, 'trailing characters at line 1 column 6'],
  ['["a","b"]', json, 'trailing characters at line 1 column 6'],
  ['[1,]', json, 'trailing comma at line 1 column 4'],
  ['[{"id":1},]', json, 'trailing comma at line 1 column 11'],
  ['[{"id":1', json, 'EOF while parsing an object at line 1 column 8'],
  ['[{"id":1,', json, 'EOF while parsing an object at line 1 column 9'],
  ['[{"id":01}]', json, 'invalid number at line 1 column 9'],
  ['[{"id":tru}]', json, 'expected ident at line 1 column 11'],
  ['[{"id":"a\nb"}]', json, 'control character (\\u0000-\\u001F) found while parsing a string at line 1 column 9'],
  ['[{"id":1},\n {"id":2,\n"x" 1}]', json, 'expected `:` at line 3 column 5'],
  ['[{"id":1,"x":"\\q"}]', json, 'invalid escape at line 1 column 16'],
  [latin('[{"id":1,"a":"\xff"}]'), json, 'invalid unicode code point at line 1 column 17'],
  [latin('\xff\xfe'), json, 'expected value at line 1 column 1'],
  ['{"id":1}\n{"id":2', ndjson, 'EOF while parsing an object at line 2 column 7'],
  ['{"id":1}\n{"id" 2}', ndjson, 'expected `:` at line 2 column 7'],
  ['hello', ndjson, 'expected value at line 1 column 1'],
]

test('malformed payloads are refused with the place and the words of Meilisearch', async () => {
  for (const [payload, format, detail] of malformed) {
    const message = `The \`${format.kind}\` payload provided is malformed. \`Couldn't serialize document value: ${detail}\`.`
    assert.deepEqual(await read(payload, format), { code: 'malformed_payload', message }, String(payload))
  }
  for (const format of [json, ndjson, csv])
    assert.deepEqual(await read('', format), {
      code: 'missing_payload',
      message: `A ${format.kind} payload is missing.`,
    })
})

test('malformed CSV names its record, line and byte', async () => {
  const cases: readonly (readonly [string | Buffer, string])[] = [
    [
      'id,name\n1',
      'CSV error: record 1 (line: 2, byte: 8): found record with 1 fields, but the previous record has 2 fields',
    ],
    [
      'id,name\n1,b,c',
      'CSV error: record 1 (line: 2, byte: 8): found record with 3 fields, but the previous record has 2 fields',
    ],
    ['id:number,name\nx,b', 'Error parsing number "x" at line 1: invalid float literal'],
    ['id:number,b:boolean\n1,yes', 'Error parsing boolean "yes" at line 1: provided string was not `true` or `false`'],
    [
      latin('id,a\n1,\xff'),
      'CSV parse error: record 1 (line 2, field: 1, byte: 5): invalid utf-8: invalid UTF-8 in field 1 near byte index 0',
    ],
  ]
  for (const [payload, detail] of cases)
    assert.deepEqual(await read(payload, csv), {
      code: 'malformed_payload',
      message: `The \`csv\` payload provided is malformed: \`${detail}\`.`,
    })
})

test('CSV becomes documents with typed cells', async () => {
  const rows =
    'id:number,b:zork,c:string,d:number\n1,yes,,\n\n  2 ,x,"a""b", 1.50 \r\n3,"x\ny",é,1e3\n4,a,b,9007199254740993\n'
  const expected =
    '{"id":1,"b:zork":"yes","c":null,"d":null}\n' +
    '{"id":2,"b:zork":"x","c":"a\\"b","d":1.5}\n' +
    '{"id":3,"b:zork":"x\\ny","c":"é","d":1000.0}\n' +
    '{"id":4,"b:zork":"a","c":"b","d":9007199254740993}\n'
  for (const length of [1, 2, 7, 1e9]) {
    const found = await read(rows, csv, fresh, length)
    assert.deepEqual(found, { lines: expected, received: 4, distinct: 4, inferred: 'id', refusal: undefined })
  }
})

test('documents keep their bytes and become one line each', async () => {
  const found = await read('[{\n "id" : 1,\r\n  "x": "a  \\n b"\n},{"id":18446744073709551615,"y":1.0}]', json)
  assert.deepEqual(found, {
    lines: '{"id" : 1,"x": "a  \\n b"}\n{"id":18446744073709551615,"y":1.0}\n',
    received: 2,
    distinct: 2,
    inferred: 'id',
    refusal: undefined,
  })
})

const refusals: readonly (readonly [string, string, Partial<DocumentCheck>?])[] = [
  ['[{"id":1.0}]', idMessage('1.0')],
  ['[{"id":1.5}]', idMessage('1.5')],
  ['[{"id":true}]', idMessage('true')],
  ['[{"id":null}]', idMessage('null')],
  ['[{"id":""}]', idMessage('""')],
  ['[{"id":"a b"}]', idMessage('"a b"')],
  ['[{"id":18446744073709551616}]', idMessage('1.8446744073709552e+19')],
  ['[{"id":1},{"nope":1}]', 'Document doesn\'t have a `id` attribute: `{"nope":1}`.'],
  ['[{"a":{"x":1}}]', 'Document doesn\'t have a `a.id` attribute: `{"a":{"x":1}}`.', { primaryKey: 'a.id' }],
  [
    '[{"a.id":8,"a":{"id":9}}]',
    'Document have too many matching `a.id` attribute: `{"a.id":8,"a":{"id":9}}`.',
    { primaryKey: 'a.id' },
  ],
  [
    '[{"a":1}]',
    'The primary key inference failed as the engine did not find any field ending with `id` in its name. Please specify the primary key manually using the `primaryKey` query parameter.',
  ],
  [
    '[{"uid":1,"id":2,"object_id":3}]',
    "The primary key inference failed as the engine found 3 fields ending with `id` in their names: 'id' and 'object_id'. Please specify the primary key manually using the `primaryKey` query parameter.",
  ],
  ['[{"id":3,"n":1e400}]', 'Index `t`: internal: number out of range.'],
  ['[{"id":3,"n":"\\ud800"}]', 'Index `t`: internal: unexpected end of hex escape.'],
  [
    '[{"id":2,"_geo":"x"}]',
    'Index `t`: The `_geo` field in the document with the id: `"2"` is not an object. Was expecting an object with the `_geo.lat` and `_geo.lng` fields but instead got `"x"`.',
    { geo: true },
  ],
  [
    '[{"id":2,"_geo":{}}]',
    'Index `t`: Could not find latitude nor longitude in the document with the id: `"2"`. Was expecting `_geo.lat` and `_geo.lng` fields.',
    { geo: true },
  ],
  [
    '[{"id":2,"_geo":{"lat":1,"lng":2,"x":3}}]',
    'Index `t`: The `_geo` field in the document with the id: `"2"` contains the following unexpected fields: `{"x":3}`.',
    { geo: true },
  ],
  [
    '[{"id":2,"_geo":{"lat":"1.5","lng":" 2 "}}]',
    'Index `t`: Could not parse longitude in the document with the id: `"2"`. Was expecting a finite number but instead got `" 2 "`.',
    { geo: true },
  ],
  [
    '[{"id":2,"_geojson":{"type":"Point","coordinates":[1]}}]',
    'Index `t`: A position must contain two or more elements, but got `1`',
    { shapes: true },
  ],
  [
    '[{"id":2,"_geojson":{"type":"Polygon","coordinates":[]}}]',
    'Index `t`: invalid ring (not enough coordinate)',
    { shapes: true },
  ],
  [
    '[{"id":2,"_vectors":{"d":[1]}}]',
    'Index `t`: Invalid vector dimensions in document with id `2` in `._vectors.d`.\n  - note: embedding #0 has dimensions 1\n  - note: embedder `d` requires 2',
    { embedders: { d: 2 } },
  ],
  [
    '[{"id":2,"_vectors":{"d":[1,"a"]}}]',
    'Index `t`: Bad embedder configuration in the document with id: `2`. Invalid value type at `._vectors.d[1]`: expected a number, but found a string: `"a"`',
  ],
  [
    '[{"id":2,"_vectors":{"d":{"embeddings":[1,2]}}}]',
    'Index `t`: Bad embedder configuration in the document with id: `2`. Missing field `._vectors.d.regenerate`\n  - note: `._vectors.d` must be an array of floats, an array of arrays of floats, or an object with field `regenerate`',
  ],
  [
    '[{"id":1,"_vectors":{"zz":3}}]',
    'Index `t`: Bad embedder configuration in the document with id: `1`. Expected `._vectors.zz` to be an array of floats, an array of arrays of floats, or an object with at least the field `regenerate`, but got the integer `3`',
  ],
]

test('what the engine would refuse is found before anything is stored', async () => {
  for (const [payload, refusal, check] of refusals) {
    const found = await read(payload, json, { ...fresh, ...check })
    assert.equal('refusal' in found ? found.refusal : found.message, refusal, payload)
    assert.equal('lines' in found ? found.lines : '', '', 'a refused payload yields nothing')
  }
})

test('good positions, vectors and ids pass', async () => {
  const good = [
    '[{"id":1,"_geo":null},{"id":2,"_geo":{"lat":"1.5","lng":200}}]',
    '[{"id":1,"_vectors":{"d":null}},{"id":2,"_vectors":{"d":[1,2]}},{"id":3,"_vectors":{"d":[[1,2],[3,4]]}}]',
    '[{"id":1,"_vectors":{"d":{"regenerate":false}}},{"id":2,"_vectors":{"d":{"embeddings":[1,2],"regenerate":true}}}]',
    '[{"id":-5},{"id":9007199254740993},{"id":"aZ_-9"}]',
    '[{"id":1,"n":1e30,"s":"\\ud83d\\ude00"}]',
    '[]',
  ]
  for (const payload of good) {
    const found = await read(payload, json, { ...fresh, geo: true, embedders: { d: 2 } })
    assert.equal('refusal' in found ? found.refusal : found.message, undefined, payload)
  }
  const nested = await read('[{"a":{"id":3}},{"a.id":7}]', json, { ...fresh, primaryKey: 'a.id' })
  assert.equal('distinct' in nested && nested.distinct, 2)
})

test('an integer and its decimal string are one id', async () => {
  const found = await read('[{"id":1},{"id":"1"},{"id":2}]', json)
  assert.ok('received' in found)
  assert.deepEqual([found.received, found.distinct], [3, 2])
})

test('ten thousand nested brackets are refused and nothing overflows', async () => {
  const deep = `${'['.repeat(10_000)}${']'.repeat(10_000)}`
  const found = await read(`[{"id":1,"x":${deep}}]`, json)
  assert.match('message' in found ? found.message : '', /recursion limit exceeded/)
  const level = await read(`[{"id":1,"x":${'['.repeat(127)}${']'.repeat(127)}}]`, json)
  assert.ok('refusal' in level && level.refusal === undefined)
})

test('a document with too many fields is refused', async () => {
  const fields = Array.from({ length: 66_000 }, (_, index) => `"f${index}":1`).join()
  const found = await read(`[{"id":1,"o":{${fields}}}]`, json)
  assert.equal('refusal' in found && found.refusal, 'Index `t`: A document cannot contain more than 65,535 fields.')
})

// The cut between two pieces may fall anywhere, also into an escape or a character.
test('the result does not depend on how the payload is cut', async () => {
  const seed = 20_240_607
  const random = seededRandom(seed)
  const text = '[{"id":1,"a":"q\\"uo\\\\te é 😀 \\u00e9","b":[1.5e3,{"c":[]}]},\n {"id":"x","n":null} , {"id":3}]'
  const whole = await read(text, json)
  for (let round = 0; round < 40; round += 1)
    assert.deepEqual(
      await read(text, json, fresh, 1 + random.integer(text.length)),
      whole,
      `seed ${seed}, round ${round}`,
    )
})

test('without a check, syntax alone is judged', async () => {
  const found = await read('[{"id":1.5},{"id":1.5}]', json, null)
  assert.deepEqual(found, {
    lines: '{"id":1.5}\n{"id":1.5}\n',
    received: 2,
    distinct: 2,
    inferred: null,
    refusal: undefined,
  })
})

test('reserved fields are refused before anything else is said of a document', async () => {
  const found = await read('[{"id":1},{"id":"no id at all!","_ours":1}]', json)
  assert.match(JSON.stringify(found), /The field `_ours` is reserved/)
})
