// Runs a command with TEST_DATABASE_URL set to a PostgreSQL that is started for it, in a temporary folder.
//   node scripts/with-postgres.mjs <folder with initdb and postgres> <command> [argument ...]
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const [programs, command, ...args] = process.argv.slice(2)
if (!programs || !command) throw new Error('usage: with-postgres.mjs <folder> <command> [argument ...]')
const startMsMax = 60_000
const attemptsMax = 3

const folder = mkdtempSync(join(tmpdir(), 'flapjack-postgres-'))
// PostgreSQL refuses to run as root; it gets the account `nobody` then.
const account = process.getuid?.() === 0 ? accountOf('nobody') : {}
if (account.uid !== undefined) chownSync(folder, account.uid, account.gid)
chmodSync(folder, 0o700)
const data = join(folder, 'data')
const log = join(folder, 'postgres.log')
let port

let server
try {
  check(
    spawnSync(join(programs, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync'], {
      ...account,
      cwd: '/',
    }),
  )
  await startServer()
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

/** Somebody else may take the free port first: then another one is tried. */
async function startServer() {
  for (let attempt = 1; ; attempt += 1) {
    port = await freePort()
    const output = openSync(log, 'w')
    const options = ['-D', data, '-h', '127.0.0.1', '-p', String(port), '-k', folder]
    server = spawn(join(programs, 'postgres'), options, { ...account, cwd: '/', stdio: ['ignore', output, output] })
    closeSync(output)
    if (await isServing()) return
    if (attempt === attemptsMax) throw new Error(`PostgreSQL did not start:\n${readFileSync(log, 'utf8')}`)
  }
}

async function isServing() {
  const deadline = Date.now() + startMsMax
  const probe = ['-h', '127.0.0.1', '-p', String(port), '-q']
  while (server.exitCode === null && server.signalCode === null && Date.now() < deadline) {
    if (spawnSync(join(programs, 'pg_isready'), probe).status === 0) return true
    await delay(100)
  }
  return false
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
