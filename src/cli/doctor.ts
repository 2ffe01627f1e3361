/** `flapjack doctor`: looks at everything that `flapjack up` needs, and says what to do about what is missing. */
import { accessSync, constants, existsSync, statfsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { checkPort, PortInUse } from '../lib/loopback-port.ts'
import { lockOwner } from '../orchestrator/folder-lock.ts'
import { findMeilisearch } from '../orchestrator/local-driver.ts'
import { checkEngineKey } from '../orchestrator/remote-node.ts'
import type { CommandContext } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { isHealthy } from './status.ts'
import { withStore } from './store-access.ts'

interface Finding {
  readonly check: string
  readonly state: 'good' | 'note' | 'bad'
  readonly found: string
  readonly advice?: string
}

const nodeMajorMin = 20
const freeBytesMin = 1024 ** 3

export async function runDoctor(context: CommandContext): Promise<void> {
  const findings = [
    checkNode(),
    checkFolder(context),
    checkDisk(context),
    await checkListening(context),
    await checkDatabase(context),
    await checkEngine(context),
  ]
  const isGood = findings.every(({ state }) => state !== 'bad')
  const marks = { good: '✔', note: '•', bad: '✖' }
  const lines = findings.flatMap(({ check, state, found, advice }) => [
    `${marks[state]} ${check}: ${found}`,
    ...(advice ? [`    ${advice}`] : []),
  ])
  context.terminal.answer({ isGood, findings: findings.map((finding) => ({ ...finding })) }, lines.join('\n'))
  if (!isGood) throw new CommandFailed('failed', 'some checks failed')
}

function checkNode(): Finding {
  const major = Number(process.versions.node.split('.')[0])
  if (major >= nodeMajorMin) return { check: 'Node', state: 'good', found: process.version }
  return { check: 'Node', state: 'bad', found: process.version, advice: `Install Node ${nodeMajorMin} or newer.` }
}

function checkFolder({ config }: CommandContext): Finding {
  const folder = resolve(config.data.dir)
  const owner = lockOwner(folder)
  if (owner) return { check: 'Data folder', state: 'note', found: `${folder}, in use by process ${owner.pid}` }
  const place = existsSync(folder) ? folder : existingParent(folder)
  try {
    accessSync(place, constants.W_OK | constants.X_OK)
    return { check: 'Data folder', state: 'good', found: existsSync(folder) ? folder : `${folder}, will be created` }
  } catch {
    const advice = 'Choose another folder with --data-dir, or change its owner.'
    return { check: 'Data folder', state: 'bad', found: `${place} cannot be written`, advice }
  }
}

function checkDisk({ config }: CommandContext): Finding {
  const { bavail, bsize } = statfsSync(existingParent(resolve(config.data.dir)))
  const freeBytes = bavail * bsize
  const found = `${(freeBytes / 1024 ** 3).toFixed(1)} GiB free`
  if (freeBytes >= freeBytesMin) return { check: 'Disk', state: 'good', found }
  return { check: 'Disk', state: 'bad', found, advice: 'Free some space: writes are refused when the disk is full.' }
}

async function checkListening({ config }: CommandContext): Promise<Finding> {
  const { host, port } = config.http.address
  try {
    await checkPort(host, port)
    return { check: 'Port', state: 'good', found: `${host}:${port} is free` }
  } catch (error) {
    const owner = lockOwner(config.data.dir)
    if (owner && error instanceof PortInUse) return { check: 'Port', state: 'note', found: `${host}:${port} is ours` }
    const advice = 'Stop the other program, or choose another address with --http-addr.'
    return { check: 'Port', state: 'bad', found: error instanceof Error ? error.message : String(error), advice }
  }
}

async function checkDatabase({ config, programs }: CommandContext): Promise<Finding> {
  const isRunning = lockOwner(config.data.dir) !== undefined
  if (!config.store.databaseUrl && !isRunning) {
    return { check: 'Database', state: 'note', found: 'the bundled PostgreSQL, not running; `flapjack up` starts it' }
  }
  try {
    await withStore(programs, config, (store) => store.ping())
    return { check: 'Database', state: 'good', found: 'it answers' }
  } catch (error) {
    const advice = 'Check DATABASE_URL and that PostgreSQL 15 or newer runs there.'
    return { check: 'Database', state: 'bad', found: error instanceof Error ? error.message : String(error), advice }
  }
}

async function checkEngine({ config, env }: CommandContext): Promise<Finding> {
  const { kind, url, bin } = config.engine
  if (url) {
    if (await isHealthy(url)) return checkEngineRights(url, config.engine.key?.reveal() ?? null)
    return {
      check: 'Engine',
      state: 'bad',
      found: `${url} does not answer`,
      advice: 'Start it, or correct --engine-url.',
    }
  }
  if (kind === 'embedded') return { check: 'Engine', state: 'good', found: 'embedded' }
  try {
    return { check: 'Engine', state: 'good', found: findMeilisearch(bin, env.PATH ?? '') }
  } catch (error) {
    const advice = 'Give the path of a Meilisearch program with --engine-bin.'
    return { check: 'Engine', state: 'bad', found: error instanceof Error ? error.message : String(error), advice }
  }
}

const rightsTexts = {
  'makes-keys': 'and lets us make keys',
  'one-key': 'and its key is used for everything, as it may make no others',
  keyless: 'and runs without a master key',
}

/** What lanes and gateways need of it (P-22). */
async function checkEngineRights(url: string, key: string | null): Promise<Finding> {
  try {
    const rights = await checkEngineKey(url, key)
    return { check: 'Engine', state: 'good', found: `${url} is healthy ${rightsTexts[rights]}` }
  } catch (error) {
    const advice = 'Give its master key with --engine-key, or a key with all that is needed.'
    return { check: 'Engine', state: 'bad', found: error instanceof Error ? error.message : String(error), advice }
  }
}

function existingParent(folder: string): string {
  let place = folder
  while (!existsSync(place) && dirname(place) !== place) place = dirname(place)
  return place
}
