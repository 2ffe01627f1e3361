import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sequenceField, sequenceText, shardField, shardText } from '../api/reserved-fields.ts'
import type { Change, Operation } from '../journal/change.ts'
import type { LaneChange } from '../journal/ports.ts'
import { seededRandom } from '../lib/random.ts'
import { planBundle } from './bundle.ts'
import { BundlePayloads } from './bundle-payloads.ts'
import { DocumentPlaces } from './document-places.ts'
import type { Cut } from './shard-view.ts'

const put: Operation = {
  kind: 'documents-put',
  ...{ merge: false, skipCreation: false, primaryKey: null, received: 1, distinct: 1 },
}
const merge: Operation = { ...put, merge: true }
const remove: Operation = { kind: 'documents-delete', provided: 1 }

function change(
  position: number,
  operation: Operation,
  lines: readonly unknown[],
  more: Partial<Change> = {},
): LaneChange {
  const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  return {
    change: {
      ...{ project: 'p', task: position, index: 'i', position, indexUid: 'a', operation },
      payload: { kind: 'inline', bytes },
      ...{ refusal: null, resolution: null, customMetadata: null, status: 'succeeded', error: null, details: null },
      ...{ batch: null, canceledBy: null, enqueuedAt: 0, startedAt: 0, finishedAt: 1 },
      ...more,
      ...{ index: 'i', position },
    },
    settings: null,
    primaryKey: 'id',
    partials: [],
  }
}

const whole: Cut = { sliceBytes: 4_000, view: { shards: 1, own: new Set([0]), exactTies: true } }
const plain: Cut = { sliceBytes: 4_000, view: null }
const open = { status: 'processing', finishedAt: null } as const

const rangeOf = (items: readonly LaneChange[], cut = whole) => {
  const bundle = planBundle(items, cut)
  return bundle && [bundle.from, bundle.through]
}

type Held = Map<string, Record<string, unknown>>

async function linesOf(chunks: AsyncIterable<Uint8Array>): Promise<readonly string[]> {
  const texts: string[] = []
  for await (const chunk of chunks) texts.push(Buffer.from(chunk).toString())
  return texts
    .join('')
    .split('\n')
    .filter((line) => line !== '')
}

function act(held: Held, kind: 'put' | 'merge' | 'delete', line: string): void {
  if (kind === 'delete') return void held.delete(JSON.parse(line))
  const document = JSON.parse(line) as Record<string, unknown>
  const id = String(document.id)
  held.set(id, kind === 'merge' ? { ...held.get(id), ...document } : document)
}

const placeIn = (held: Held, id: string) => String(held.get(id)?.[sequenceField] ?? '')

/** What a node holds after one more change: a document keeps the place of its first insertion. */
function alone(held: Held, { change: { position, operation, payload } }: LaneChange): void {
  const lines = payload?.kind === 'inline' ? Buffer.from(payload.bytes).toString().trim().split('\n') : []
  const kind = operation.kind === 'documents-delete' ? 'delete' : operation === merge ? 'merge' : 'put'
  for (const [at, line] of lines.entries()) {
    if (kind === 'delete') act(held, kind, line)
    else {
      const before = placeIn(held, String(JSON.parse(line).id))
      const place = before === '' ? sequenceText(position, at) : before
      act(held, kind, JSON.stringify({ ...JSON.parse(line), [shardField]: shardText(0), [sequenceField]: place }))
    }
  }
}

/** The same, sent as a lane sends a backlog. */
async function inBundles(items: readonly LaneChange[]): Promise<Held> {
  const held: Held = new Map()
  const read = async (ids: readonly string[]) =>
    new Map(ids.flatMap((id) => (held.has(id) ? [[id, placeIn(held, id)] as const] : [])))
  for (let rest = items; rest.length > 0; ) {
    const bundle = planBundle(rest, whole)
    if (bundle === undefined) alone(held, rest[0]!)
    else {
      const payloads = new BundlePayloads(bundle, { isSpread: true, places: new DocumentPlaces(read) })
      for (const part of bundle.delivery.parts) {
        const kind = part.kind === 'put' && part.merge ? 'merge' : part.kind
        const chunks = part.kind === 'put' ? payloads.documents(part) : payloads.ids()
        if (kind === 'put' || kind === 'merge' || kind === 'delete')
          for (const line of await linesOf(await chunks)) act(held, kind, line)
      }
    }
    const through = bundle?.through ?? rest[0]!.change.position
    rest = rest.filter((item) => item.change.position > through)
  }
  return held
}

test('a node that gets changes in bundles ends as one that gets them one by one, places included', async () => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const random = seededRandom(seed)
    const more: Partial<Change> = seed % 2 === 0 ? open : {}
    const items = Array.from({ length: 40 }, (_, at): LaneChange => {
      const ids = Array.from({ length: 1 + random.integer(3) }, () => random.integer(6))
      const documents = ids.map((id) => ({ id, [`field${random.integer(3)}`]: at }))
      const dice: number = random.integer(3)
      if (dice === 2) return change(at + 1, remove, ids.map(String), more)
      return change(at + 1, dice === 0 ? put : merge, documents, more)
    })
    const single: Held = new Map()
    for (const item of items) alone(single, item)
    const sorted = (held: Held) => [...held.values()].map((one) => JSON.stringify(Object.entries(one).sort())).sort()
    assert.deepEqual(sorted(await inBundles(items)), sorted(single), `seed ${seed}`)
  }
})

test('of the changes of a bundle it is known who took a place from whom, and from what was sent before', async () => {
  const looks: string[][] = []
  const places = new DocumentPlaces(async (ids) => {
    looks.push([...ids])
    return new Map()
  })
  places.send(1, 'b', sequenceText(1, 0))
  const items = [
    change(2, put, [{ id: 'a' }], open),
    change(3, merge, [{ id: 'b' }], open),
    change(4, merge, [{ id: 'a' }], open),
    change(5, merge, [{ id: 'a' }, { id: 'c' }], open),
  ]
  const bundle = planBundle(items, whole)!
  const payloads = new BundlePayloads(bundle, { isSpread: true, places })
  for (const part of bundle.delivery.parts) if (part.kind === 'put') await linesOf(await payloads.documents(part))
  assert.deepEqual(looks, [['a', 'c']])
  assert.deepEqual(
    [1, 2, 3, 4, 5].map((position) => places.fail(position)),
    [3, 4, undefined, undefined, undefined],
  )
})

test('many changes that succeeded once are one request for each kind of write, whatever they have in common', () => {
  const items = [
    change(1, put, [{ id: 1 }]),
    change(2, remove, ['1']),
    change(3, merge, [{ id: 1 }]),
    change(4, put, [{ id: 1 }]),
  ]
  const bundle = planBundle(items, whole)
  assert.deepEqual([bundle?.from, bundle?.through, bundle?.delivery.parts.length], [1, 4, 1])
})

test('what was never delivered before keeps its order within a document', () => {
  const first = change(1, merge, [{ id: 1 }], open)
  assert.equal(rangeOf([first, change(2, put, [{ id: 1 }], open)]), undefined)
  assert.deepEqual(rangeOf([first, change(2, put, [{ id: 2 }], open), change(3, remove, ['1'], open)]), [1, 2])
})

// The task of a deletion shows how many documents it removed, and the engine alone knows.
test('a deletion that is counted shares its request with no other one', () => {
  const items = [change(1, put, [{ id: 1 }], open), change(2, remove, ['2'], open), change(3, remove, ['3'], open)]
  assert.deepEqual(rangeOf(items), [1, 2])
})

test('documents of a plain index come in the order in which they were written', () => {
  const items = [change(1, put, [{ id: 1 }]), change(2, put, [{ id: 2 }]), change(3, merge, [{ id: 3 }])]
  assert.deepEqual(rangeOf(items, plain), [1, 2])
})

test('what was refused before it was appended, and what is for others, does not end a bundle; what failed on nodes does', () => {
  const refusal = { message: '', code: 'internal', type: 'internal', link: '' } as const
  const [first, last] = [change(1, put, [{ id: 1 }]), change(3, put, [{ id: 3 }])]
  assert.deepEqual(rangeOf([first, change(2, put, [{ x: 1 }], { refusal, status: 'failed' }), last]), [1, 3])
  assert.equal(rangeOf([first, change(2, put, [{ id: 2 }], { status: 'failed' }), last]), undefined)
  assert.deepEqual(rangeOf([first, change(2, put, [{ id: 2 }], { status: 'canceled' }), last]), [1, 3])
})

test('settings, changes that wait to be resolved and large payloads end a bundle', () => {
  const [first, second] = [change(1, put, [{ id: 1 }]), change(2, put, [{ id: 2 }])]
  const large = change(
    3,
    put,
    Array.from({ length: 400 }, (_, id) => ({ id })),
  )
  const settings = change(3, { kind: 'settings', settings: {} }, [])
  const filter = change(3, { kind: 'documents-delete-by-filter', filter: 'a = 1' }, [], open)
  for (const third of [large, settings, filter]) assert.deepEqual(rangeOf([first, second, third]), [1, 2])
})
