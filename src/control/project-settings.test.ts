import assert from 'node:assert/strict'
import { test } from 'node:test'
import { defaultProjectSettings } from '../store/catalogue.ts'
import { readSettings, SettingRefused, showSettings } from './project-settings.ts'

test('settings of a project are written as they are shown', () => {
  const written = ['reveal_keys=off', 'allow_master_key=on', 'cors_origins=https://a.example,http://b.example:8080']
  const settings = {
    ...defaultProjectSettings,
    ...readSettings([...written, 'hosts=Search.example.com, docs.example']),
  }
  const shown = showSettings(settings)
  assert.deepEqual(shown, {
    reveal_keys: 'off',
    allow_master_key: 'on',
    cors_origins: 'https://a.example,http://b.example:8080',
    hosts: 'search.example.com,docs.example',
  })
  const again = readSettings(Object.entries(shown).map(([name, value]) => `${name}=${value}`))
  assert.deepEqual({ ...defaultProjectSettings, ...again }, settings)
  assert.equal(readSettings(['cors_origins=*']).corsOrigins, null)
  assert.deepEqual(readSettings(['hosts=']).hosts, [])
})

test('a setting that does not exist or has no such value is refused with what was expected', () => {
  const wrong = [
    'reveal_keys',
    'reveal=on',
    'reveal_keys=maybe',
    'cors_origins=https://a.example/path',
    'hosts=a b',
    '__proto__=1',
  ]
  for (const assignment of wrong) assert.throws(() => readSettings([assignment]), SettingRefused, assignment)
})
