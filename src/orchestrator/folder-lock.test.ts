import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { FolderInUse, lockFileName, lockFolder, lockOwner } from './folder-lock.ts'
import { identityOf } from './process-identity.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'flapjack-lock-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

test('a folder in use is refused, with the id of the process that uses it', () => {
  const lock = lockFolder(folder)
  assert.throws(
    () => lockFolder(folder),
    (error) => error instanceof FolderInUse && error.owner === process.pid && error.message.includes(folder),
  )
  lock.release()
  lockFolder(folder).release()
})

test('what the owner announces is found by other commands, until it ends', () => {
  const lock = lockFolder(folder)
  lock.announce({ url: 'http://127.0.0.1:1' })
  assert.equal(lockOwner(folder)?.url, 'http://127.0.0.1:1')
  lock.release()
  assert.equal(lockOwner(folder), undefined)
})

test('a folder whose owner was killed is taken over', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
  assert(child.pid)
  const identity = identityOf(child.pid)
  writeFileSync(join(folder, lockFileName), JSON.stringify(identity))
  assert.throws(() => lockFolder(folder), FolderInUse)
  child.kill('SIGKILL')
  await new Promise((resolve) => child.once('exit', resolve))
  lockFolder(folder).release()
  assert.deepEqual(readdirSync(folder), [])
})

// A process id is given again after a reboot: whoever has it now is not the owner.
test('another process with the same number does not hold the folder', () => {
  writeFileSync(join(folder, lockFileName), JSON.stringify({ pid: process.pid, startedAt: 'before the reboot' }))
  lockFolder(folder).release()
})

test('a damaged lock file holds nothing', () => {
  writeFileSync(join(folder, lockFileName), '{"pid": 1')
  const lock = lockFolder(folder)
  assert(existsSync(join(folder, lockFileName)))
  lock.release()
})
