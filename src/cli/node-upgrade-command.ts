/**
 * `flapjack node upgrade`: a node gets another version of its engine. What it holds goes to other nodes while it serves, the
 * node begins anew with an empty disk, and takes its part again. Each step looks at what is there, so that the command may be
 * given again whenever it was cut off.
 */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import type { Command } from 'commander'
import { createHttpEngine } from '../engine/http-engine.ts'
import type { Store } from '../journal/open-store.ts'
import { systemClock } from '../lib/clock.ts'
import { systemRandom } from '../lib/random.ts'
import { chooseEngine } from '../orchestrator/engine-choice.ts'
import { openMove } from '../orchestrator/moves/open-move.ts'
import { endProcess, parseIdentity } from '../orchestrator/process-identity.ts'
import type { Node } from '../store/catalogue.ts'
import type { CommandContext, RunCommand } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { drainAll, draining, nodeOf } from './node-leave-command.ts'
import { dryRunOption } from './order-options.ts'
import { awaitMoves, planLines, plannedFor, planView } from './rebalance-view.ts'
import { withStore } from './store-access.ts'

interface UpgradeOptions {
  readonly toVersion?: string
  readonly engineBin?: string
  readonly dryRun?: boolean
}

const pollMs = 500
const graceMs = 10_000
const listedMax = 1_000

export function addUpgradeCommand(node: Command, run: RunCommand): void {
  node
    .command('upgrade')
    .argument('<id>', 'its id')
    .option('--to-version <version>', 'the version that its engine has in the end, such as 1.50.0')
    .option('--engine-bin <path>', 'the program that it is started with from now on, where `up` starts it')
    .option(...dryRunOption)
    .description(
      'Gives a node another version of its engine, newer or older: what it holds goes elsewhere while it serves, and comes back. Given again, it goes on where it stopped.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  $ flapjack node upgrade m2 --engine-bin /opt/meilisearch-1.51/meilisearch\n  $ flapjack node upgrade search-1 --to-version 1.51.0     # waits until somebody has started that version there',
    )
    .action((id: string, options: UpgradeOptions, command: Command) =>
      run(command, (context) => upgrade(context, id, options)),
    )
}

async function upgrade(context: CommandContext, id: string, options: UpgradeOptions): Promise<void> {
  const { terminal, config, programs } = context
  const { engineBin, toVersion, dryRun } = options
  const wanted = engineBin === undefined ? toVersion : await versionOf(engineBin)
  if (wanted === undefined)
    throw new CommandFailed('usage', 'say which version: `--to-version V` or `--engine-bin PATH`')
  if (toVersion !== undefined && toVersion !== wanted)
    throw new CommandFailed('usage', `${engineBin} is version ${wanted}, not ${toVersion}`)
  const folder = join(resolve(config.data.dir), 'engines', id)
  await withStore(programs, config, async (store) => {
    const node = await nodeOf(store, id)
    if (node.state === 'lost') throw new CommandFailed('failed', `node \`${id}\` is lost`)
    if (engineBin !== undefined && (node.engine !== 'meilisearch' || !existsSync(folder)))
      throw new CommandFailed('usage', `\`${id}\` is no Meilisearch that \`flapjack up\` starts from this data folder`)
    const before = await runningVersion(node)
    const isDone = before === wanted && engineBin === undefined
    const plan = await plannedFor(store, draining(new Set([id])))
    const view = { id, before: before ?? null, after: wanted, ...planView(plan) }
    if (dryRun === true) return terminal.answer(view, [...planLines(plan), 'Nothing was done.'].join('\n'))
    const startedAt = systemClock.now()
    if (!isDone) {
      const stays = plan.stuck.find((one) => one.node === id)
      if (stays !== undefined) throw new CommandFailed('failed', `${stays.layout.uid} stays: ${stays.reason}`)
      await empty(context, store, id)
      if (engineBin === undefined)
        terminal.remark(`${id} is empty: start version ${wanted} at ${node.url}, on an empty disk`)
      else await restart(folder, resolve(engineBin))
      await untilRunning(store, id, wanted, engineBin === undefined ? undefined : before)
    }
    await store.catalogue.letNodesTake([id], true)
    await store.catalogue.setNodeState(id, 'active')
    const returning = await bringBack(store, id, startedAt)
    await awaitMoves(store, terminal, ({ nodes }) => nodes.includes(id))
    terminal.answer({ ...view, returning }, `${id} runs ${wanted}, and takes its part again.`)
  })
}

async function versionOf(bin: string): Promise<string> {
  const { stdout } = await promisify(execFile)(bin, ['--version']).catch(() => {
    throw new CommandFailed('usage', `${bin} is not a program that tells its version`)
  })
  const version = /\d+\.\d+\.\d+\S*/.exec(stdout)?.[0]
  if (version === undefined) throw new CommandFailed('usage', `${bin} is not a program that tells its version`)
  return version
}

async function runningVersion({ url, key }: Node): Promise<string | undefined> {
  const engine = createHttpEngine({ url, key })
  try {
    const reply = await engine.version(AbortSignal.timeout(5_000))
    return reply.kind === 'answered' ? reply.value : undefined
  } finally {
    await engine.close()
  }
}

/** What was moved is kept for a while behind its switch. */
async function empty({ terminal }: CommandContext, store: Store, id: string): Promise<void> {
  await drainAll(store, [id])
  const { stuck } = await awaitMoves(store, terminal, ({ nodes }) => nodes.includes(id))
  const stays = stuck.find((one) => one.node === id)
  if (stays !== undefined) throw new CommandFailed('failed', `${stays.layout.uid} stays: ${stays.reason}`)
  terminal.remark(`${id} serves nothing any more; what it held is kept for a moment`)
  while (((await store.replicas.loads()).get(id) ?? 0) > 0) await systemClock.sleep(pollMs)
}

/** Whoever started it starts it again at once, with what was chosen. */
async function restart(folder: string, bin: string): Promise<void> {
  chooseEngine(folder, bin)
  const record = join(folder, 'process.json')
  const recorded = existsSync(record) ? parseIdentity(readFileSync(record, 'utf8')) : undefined
  if (recorded !== undefined) await endProcess(recorded, graceMs, systemClock)
}

/** @param before  another process than before must answer, though its version be the same; its address tells. */
async function untilRunning(store: Store, id: string, wanted: string, before: string | undefined): Promise<void> {
  const { url } = await nodeOf(store, id)
  for (;;) {
    const node = await nodeOf(store, id)
    const isAnother = before !== wanted || node.url !== url
    if (isAnother && (await runningVersion(node)) === wanted) return
    await systemClock.sleep(pollMs)
  }
}

/** Plain indexes that left for this come back; what spread ones have there follows from the nodes. */
async function bringBack(store: Store, id: string, since: number): Promise<number> {
  const { indexes } = await store.catalogue.snapshot()
  const moves = await store.moves.list({ isOpen: false }, listedMax)
  const left = moves.filter(
    ({ kind, source, step, createdAt }) => kind === 'move' && source === id && step === 'closed' && createdAt >= since,
  )
  const deps = { ...store, clock: systemClock, random: systemRandom }
  let count = 0
  for (const index of indexes) {
    if (index.spread !== null || !left.some((move) => move.index === index.id)) continue
    const opened = await openMove(deps, { index, target: id, options: { keepMs: 60_000, bytesPerSecond: null } })
    if (!('refusal' in opened)) count += 1
  }
  return count
}
