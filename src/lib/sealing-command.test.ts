import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sealingKey } from './seal.ts'
import { runSealingCommand, SealingCommandFailed } from './sealing-command.ts'

const bytes = Buffer.alloc(32, 9)

test('a program prints the sealing key, in hex or in base64', async () => {
  const { id } = sealingKey(bytes)
  assert.equal((await runSealingCommand(`echo ${bytes.toString('hex')}`)).id, id)
  assert.equal((await runSealingCommand(`printf '%s' ${bytes.toString('base64')}`)).id, id)
})

test('a program that fails or prints something else is told without what it printed', async () => {
  const failing = runSealingCommand('echo secret; echo sealed by the vault >&2; exit 3')
  await assert.rejects(failing, (error) => {
    assert(error instanceof SealingCommandFailed)
    assert.match(error.message, /exit code 3.*: sealed by the vault$/)
    return !error.message.includes('secret')
  })
  await assert.rejects(runSealingCommand('echo too short'), SealingCommandFailed)
})
