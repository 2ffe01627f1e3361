import assert from 'node:assert/strict'
import { test } from 'node:test'
import { completeSettings } from '../api/settings.ts'
import { clientMessage } from './refusals.ts'

const settings = completeSettings({
  filterableAttributes: ['genre'],
  distinctAttribute: 'sku',
  displayedAttributes: ['genre'],
})

test('messages list what the client has set, not what nodes are given in addition', () => {
  assert.equal(
    clientMessage(
      'Attribute `a` is not filterable. Available filterable attribute patterns are: `_miroir_shard`, `genre`, `sku`.\n1:2 a = 1',
      settings,
    ),
    'Attribute `a` is not filterable. Available filterable attribute patterns are: `genre`.\n1:2 a = 1',
  )
  assert.equal(
    clientMessage('Available filterable attributes patterns are: `_miroir_shard`.', completeSettings({})),
    'This index does not have configured filterable attributes.',
  )
})

test('fields that are not displayed are only hinted at', () => {
  assert.equal(
    clientMessage('Available sortable attributes are: `genre, price`.', settings),
    'Available sortable attributes are: `genre, <..hidden-attributes>`.',
  )
})
