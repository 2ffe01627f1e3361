import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { chooseEngine, takeChosenEngine } from './engine-choice.ts'

test('another program begins with an empty disk, once', () => {
  const folder = mkdtempSync(join(tmpdir(), 'flapjack-engine-'))
  try {
    const fill = () => {
      mkdirSync(join(folder, 'db'))
      writeFileSync(join(folder, 'db', 'data.mdb'), 'x')
    }
    fill()
    assert.equal(takeChosenEngine(folder), undefined)
    assert.equal(existsSync(join(folder, 'db')), true)
    chooseEngine(folder, '/opt/engine')
    assert.equal(takeChosenEngine(folder), '/opt/engine')
    assert.equal(existsSync(join(folder, 'db')), false)
    fill()
    assert.equal(takeChosenEngine(folder), '/opt/engine')
    assert.equal(existsSync(join(folder, 'db')), true)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
