import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { JsonObject } from '../lib/json.ts'
import type { IndexEntry } from '../store/catalogue.ts'
import { StoreUnavailable } from '../store/ports.ts'
import { IndexSettingsReader } from './index-settings.ts'

const entry: IndexEntry = {
  ...{ id: 'i1', project: 'p1', uid: 'books', primaryKey: 'id', createdAt: 0, updatedAt: 0 },
  ...{ settingsPosition: 0, spread: null },
}
const keys = (field: string) => ({ foreignKeys: [{ foreignIndexUid: 'authors', fieldName: field }] })

test('settings are read from the store once behind each change of them, and known while it is away', async () => {
  let stored: JsonObject = {}
  let isAway = false
  let count = 0
  const reader = new IndexSettingsReader({
    async completedSettings() {
      count += 1
      if (isAway) throw new StoreUnavailable('away')
      return stored
    },
  })
  const at = (settingsPosition: number) => reader.folded({ ...entry, settingsPosition })
  assert.deepEqual(await at(0), {})
  stored = keys('author')
  for (let turn = 0; turn < 3; turn += 1) assert.deepEqual(await at(4), keys('author'))
  assert.equal(count, 1)
  stored = keys('writer')
  assert.deepEqual(await at(6), keys('writer'))
  assert.equal(count, 2)
  isAway = true
  assert.deepEqual(await at(9), keys('writer'))
  await assert.rejects(reader.folded({ ...entry, id: 'i2', settingsPosition: 1 }), StoreUnavailable)
})
