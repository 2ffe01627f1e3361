import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import pg from 'pg'
import { type PostgresServer, startPostgres } from './postgres-server.ts'

const root = await mkdtemp(join(tmpdir(), 'flapjack-pg-'))
const started: PostgresServer[] = []
after(async () => {
  for (const server of started) await server.stop()
  await rm(root, { recursive: true, force: true })
})

async function start(folder: string): Promise<PostgresServer> {
  const server = await startPostgres({ folder: join(root, folder), searchPath: process.env.PATH ?? '' })
  started.push(server)
  return server
}

async function ask(server: PostgresServer, text: string) {
  const { password, ...place } = server.connection
  const client = new pg.Client({ ...place, ...(password === null ? {} : { password }) })
  // The server may be killed while the client is still there.
  client.on('error', () => undefined)
  await client.connect()
  return client.query(text).finally(() => client.end().catch(() => undefined))
}

test('the server keeps its data over stop, kill and an orphan of a killed parent', async () => {
  const first = await start('data')
  await ask(first, 'create table t (n int); insert into t values (1)')
  const settings = await ask(first, "select current_setting('fsync') || current_setting('synchronous_commit') as text")
  assert.equal(settings.rows[0].text, 'onon')
  await first.stop()
  await first.stop()
  const second = await start('data')
  await ask(second, 'insert into t values (2)')
  process.kill(second.pid, 'SIGKILL')
  assert.equal((await second.exited).signal, 'SIGKILL')
  const third = await start('data')
  await ask(third, 'insert into t values (3)')
  // As after a kill of the parent: a new one starts while the server still runs.
  const fourth = await start('data')
  await third.exited
  assert.deepEqual((await ask(fourth, 'select n from t order by n')).rows, [{ n: 1 }, { n: 2 }, { n: 3 }])
  await fourth.stop()
})

test('a lock file that names another program does not keep the server from starting', async () => {
  const server = await start('data')
  await server.stop()
  await writeFile(join(root, 'data', 'data', 'postmaster.pid'), `${process.pid}\n${join(root, 'data', 'data')}\n`)
  const again = await start('data')
  assert.equal((await ask(again, 'select 1 as one')).rows[0].one, 1)
  await again.stop()
})

test('a folder below a path that is too long for a socket is served all the same', async () => {
  const long = join('x'.repeat(60), 'y'.repeat(60))
  await mkdir(join(root, long), { recursive: true })
  const server = await start(join(long, 'data'))
  assert.equal((await ask(server, 'select 1 as one')).rows[0].one, 1)
  await server.stop()
})

test('data of another major version is refused with a way out', async () => {
  await mkdir(join(root, 'old', 'data'), { recursive: true })
  await writeFile(join(root, 'old', 'data', 'PG_VERSION'), '12\n')
  await assert.rejects(start('old'), /written by PostgreSQL 12.*pg_dump/)
  assert.equal(await readFile(join(root, 'old', 'data', 'PG_VERSION'), 'utf8'), '12\n')
})

test('programs that are not there are named', async () => {
  await assert.rejects(startPostgres({ folder: join(root, 'none'), binFolder: root }), /No usable postgres/)
})
