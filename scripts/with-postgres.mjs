// Runs a command with TEST_DATABASE_URL set to a PostgreSQL that is started for it, in a temporary folder.
//   node scripts/with-postgres.mjs <folder with initdb and postgres> <command> [argument ...]
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const [programs, command, ...args] = process.argv.slice(2)
if (!programs || !command) throw new Error('usage: with-postgres.mjs <folder> <command> [argument ...]')
const startMsMax = 30_000

const folder = mkdtempSync(join(tmpdir(), 'flapjack-postgres-'))
// PostgreSQL refuses to run as root; it gets the account `nobody` then.
const account = process.getuid?.() === 0 ? accountOf('nobody') : {}
if (account.uid !== undefined) chownSync(folder, account.uid, account.gid)
chmodSync(folder, 0o700)
const data = join(folder, 'data')
const port = await freePort()

let server
try {
  check(
    spawnSync(join(programs, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync'], {
      ...account,
      cwd: '/',
    }),
  )
  const options = ['-D', data, '-h', '127.0.0.1', '-p', String(port), '-k', folder]
  server = spawn(join(programs, 'postgres'), options, { ...account, cwd: '/', stdio: 'ignore' })
  await waitForServer()
  const env = { ...process.env, TEST_DATABASE_URL: `postgres://postgres@127.0.0.1:${port}/postgres` }
  const child = spawn(command, args, { stdio: 'inherit', env })
  process.exitCode = await new Promise((resolve) => child.on('exit', (code) => resolve(code ?? 1)))
} finally {
  if (server && server.exitCode === null) {
    server.kill('SIGINT')
    await new Promise((resolve) => server.once('exit', resolve))
  }
  rmSync(folder, { recursive: true, force: true })
}

function accountOf(name) {
  const id = (flag) => Number(spawnSync('id', [flag, name], { encoding: 'utf8' }).stdout)
  return { uid: id('-u'), gid: id('-g') }
}

function check({ status, stderr }) {
  if (status !== 0) throw new Error(String(stderr))
}

async function waitForServer() {
  const deadline = Date.now() + startMsMax
  const probe = ['-h', '127.0.0.1', '-p', String(port), '-q']
  while (spawnSync(join(programs, 'pg_isready'), probe).status !== 0) {
    if (server.exitCode !== null || Date.now() > deadline) throw new Error('PostgreSQL did not start')
    await delay(100)
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const { port: free } = probe.address()
      probe.close(() => resolve(free))
    })
  })
}
