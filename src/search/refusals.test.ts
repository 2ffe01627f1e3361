import assert from 'node:assert/strict'
import { test } from 'node:test'
import { completeSettings } from '../api/settings.ts'
import { clientMessage } from './refusals.ts'

const settings = completeSettings({
  filterableAttributes: ['genre'],
  distinctAttribute: 'sku',
  displayedAttributes: ['genre'],
})

const messageOf = (message: string, of: typeof settings) =>
  clientMessage({ message, code: 'invalid_search_filter' }, of)

test('messages list what the client has set, not what nodes are given in addition', () => {
  assert.equal(
    messageOf(
      'Attribute `a` is not filterable. Available filterable attribute patterns are: `_miroir_shard`, `genre`, `sku`.\n1:2 a = 1',
      settings,
    ),
    'Attribute `a` is not filterable. Available filterable attribute patterns are: `genre`.\n1:2 a = 1',
  )
  assert.equal(
    messageOf('Available filterable attributes patterns are: `_miroir_shard`.', completeSettings({})),
    'This index does not have configured filterable attributes.',
  )
})

test('fields that are not displayed are only hinted at', () => {
  assert.equal(
    messageOf('Available sortable attributes are: `genre, price`.', settings),
    'Available sortable attributes are: `genre, <..hidden-attributes>`.',
  )
})
