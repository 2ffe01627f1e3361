/** The official client straight at one embedded engine, with no gateway before it. */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { clientSuite } from './client-suite.ts'
import { launcher, readUrl } from './server.ts'

const masterKey = 'a-master-key-for-the-engine'
let url = ''
let stop = async () => {}

before(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'flapjack-engine-'))
  const args = ['engine', '--json', '--data-dir', folder, '--http-addr', '127.0.0.1:0']
  const child = spawn(process.execPath, [launcher, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, MEILI_MASTER_KEY: masterKey },
  })
  const ended = new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? -1)))
  stop = async () => {
    child.kill('SIGTERM')
    await ended
    await rm(folder, { recursive: true, force: true })
  }
  let complaint = ''
  child.stderr.on('data', (chunk: Buffer) => {
    complaint += chunk.toString()
  })
  url = await readUrl(child, ended, () => complaint)
})
after(() => stop())

clientSuite('embedded engine', 'engine', () => ({ url, masterKey }))
