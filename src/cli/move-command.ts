/** `flapjack index move` and `flapjack move …`: replicas that go from node to node while they serve. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { ApiError } from '../api/errors.ts'
import { dailyWindows } from '../config/field.ts'
import { createMoveOrders, type MoveOrders, pastOf } from '../control/move-orders.ts'
import type { Store } from '../journal/open-store.ts'
import { systemClock } from '../lib/clock.ts'
import { systemRandom } from '../lib/random.ts'
import { type MovePlan, openMove, planMove } from '../orchestrator/moves/open-move.ts'
import { type Move, type MoveProgress, moveView } from '../store/moves.ts'
import { isEnded, type MoveWish, wishesAt } from '../topology/move-steps.ts'
import { type MovePriority, movePriorities } from '../topology/move-turns.ts'
import { chosenProject, type ProjectOption, projectOption } from './chosen-project.ts'
import type { CommandContext, RunCommand } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { dryRunOption, keepOption, parsed, rateOption } from './order-options.ts'
import { withStore } from './store-access.ts'
import { formatColumns } from './terminal.ts'

interface IndexMoveOptions extends ProjectOption {
  readonly to: string
  readonly from?: string
  readonly shard?: number
  readonly keep: number
  readonly rate?: number
  readonly priority?: MovePriority
  readonly window?: readonly string[]
  readonly wait?: boolean
  readonly dryRun?: boolean
}

const listedMax = 100
const pollMs = 200

export function addIndexMove(index: Command, run: RunCommand): void {
  index
    .command('move')
    .argument('<uid>', 'its name')
    .requiredOption('--to <node>', 'where it goes')
    .option('--from <node>', 'of a spread index: the node whose replica goes')
    .option('--shard <number>', 'of a spread index: the replica that holds this shard', parseWhole)
    .option(...keepOption)
    .option(...rateOption('copied'))
    .addOption(
      new Option('--priority <priority>', 'of those that wait for a node the more urgent goes first').choices(
        movePriorities,
      ),
    )
    .option(
      '--window <times>',
      'begins to copy only then, in UTC, such as `22:00-06:00`; urgent moves never wait',
      parsed(dailyWindows),
    )
    .option('--wait', 'until the new node serves, with progress')
    .option(...dryRunOption)
    .option(...projectOption)
    .description('Moves an index to another node while it is read and written. `flapjack move` follows it.')
    .action((uid: string, options: IndexMoveOptions, command: Command) =>
      run(command, (context) => moveIndex(context, uid, options)),
    )
}

export function addMoveCommands(program: Command, run: RunCommand): void {
  const move = program
    .command('move')
    .summary('replicas on their way from node to node')
    .description('Shows moves and steers them. `flapjack index move` begins one.')
    .addHelpText(
      'after',
      '\nExamples:\n  $ flapjack move list\n  $ flapjack move undo 0192f3c1-5b0e-7d1c-9f6a-8e3f2a1b4c5d',
    )
  const action = (name: string, text: string, act: (context: CommandContext, id: string) => Promise<void>) =>
    move
      .command(name)
      .argument('<id>', 'its id, or the name of its index while it is open')
      .description(text)
      .action((id: string, _: object, command: Command) => run(command, (context) => act(context, id)))

  move
    .command('list')
    .option('--open', 'only those that have not ended')
    .description('Lists the newest moves.')
    .action((options: { open?: boolean }, command: Command) => run(command, (context) => listMoves(context, options)))
  action('show', 'Prints one move: its step, how far it is, and what it waits for.', showMove)
  action('pause', 'Leaves it where it is. What is copied stays; both nodes go on taking writes.', (context, id) =>
    setPaused(context, id, true),
  )
  action('resume', 'Goes on.', (context, id) => setPaused(context, id, false))
  action('cancel', 'Gives it up, until the switch is over: the copy is removed.', (context, id) =>
    wish(context, id, 'cancel'),
  )
  action('undo', 'Goes back to the old node, while that is kept.', (context, id) => wish(context, id, 'undo'))
  action('close', 'Ends the time in which it can be undone: the old replica is removed.', (context, id) =>
    wish(context, id, 'close'),
  )
}

function parseWhole(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('a whole number is expected')
  return Number(text)
}

async function moveIndex(context: CommandContext, uid: string, options: IndexMoveOptions): Promise<void> {
  const { terminal } = context
  await withStore(context.programs, context.config, async (store) => {
    const project = await chosenProject(store.catalogue, options)
    const { indexes } = await store.catalogue.snapshot()
    const index = indexes.find((one) => one.project === project.id && one.uid === uid)
    if (index === undefined) {
      throw new CommandFailed(
        'notFound',
        `project \`${project.name}\` has no index \`${uid}\`; \`flapjack index list\``,
      )
    }
    const { to, from, shard, keep, rate = null, priority, window } = options
    const order = {
      index,
      target: to,
      ...(from === undefined ? {} : { source: from }),
      ...(shard === undefined ? {} : { shard }),
      options: {
        ...{ keepMs: keep, bytesPerSecond: rate },
        ...(priority === undefined ? {} : { priority }),
        ...(window === undefined ? {} : { windows: window }),
      },
    }
    const deps = { ...store, clock: systemClock, random: systemRandom }
    if (options.dryRun === true) {
      const plan = allowed(await planMove(deps, order))
      return terminal.answer({ ...plan, shards: [...plan.shards] }, planLines(plan))
    }
    const move = allowed(await openMove(deps, order))
    if (options.wait !== true) {
      return terminal.answer(moveView(move), `Move ${move.id} of ${uid} from ${move.source} to ${move.target} begins.`)
    }
    const served = await follow(context, store, move)
    terminal.answer(moveView(served), await moveLines(store, served))
    if (served.step === 'failed') throw new CommandFailed('failed', served.failure ?? 'the move failed')
  })
}

export function allowed<T extends object>(found: T | { readonly refusal: string }): T {
  if ('refusal' in found) throw new CommandFailed('failed', found.refusal)
  return found
}

/** Until the new node serves, or the move has ended otherwise. */
export async function follow({ terminal }: CommandContext, { moves }: Store, begun: Move): Promise<Move> {
  let shown = ''
  for (let move = begun; ; move = (await moves.get(begun.id)) ?? move) {
    const line = progressLine(move)
    if (line !== shown) terminal.remark(line)
    shown = line
    if (isEnded(move.step) || move.step === 'keeping_back' || move.step === 'closing') return move
    await systemClock.sleep(pollMs)
  }
}

async function listMoves({ config, terminal, programs }: CommandContext, options: { open?: boolean }): Promise<void> {
  await withStore(programs, config, async (store) => {
    const moves = await store.moves.list(options.open === true ? { isOpen: true } : {}, listedMax)
    const names = await indexNames(store)
    const rows = moves.map((move) => [
      ...[move.id, names.get(move.index) ?? '(deleted)', ...endsOf(move), stepText(move), progressText(move)],
    ])
    terminal.answer(moves.map(moveView), formatColumns([['MOVE', 'INDEX', 'FROM', 'TO', 'STEP', 'PROGRESS'], ...rows]))
  })
}

async function showMove({ config, terminal, programs }: CommandContext, id: string): Promise<void> {
  await withStore(programs, config, async (store) => {
    const { move } = await told(ordersOf(store).find(id))
    terminal.answer(moveView(move), await moveLines(store, move))
  })
}

async function setPaused({ config, terminal, programs }: CommandContext, id: string, isPaused: boolean): Promise<void> {
  await withStore(programs, config, async (store) => {
    const { move } = await told(ordersOf(store).setPaused(id, isPaused))
    terminal.answer(moveView(move), isPaused ? `Move ${move.id} pauses.` : `Move ${move.id} goes on.`)
  })
}

async function wish({ config, terminal, programs }: CommandContext, id: string, wanted: MoveWish): Promise<void> {
  await withStore(programs, config, async (store) => {
    const { move } = await told(ordersOf(store).wish(id, wanted))
    terminal.answer(moveView(move), `Move ${move.id} will be ${pastOf[wanted]}.`)
  })
}

function ordersOf(store: Store): MoveOrders {
  return createMoveOrders({ ...store, clock: systemClock, random: systemRandom })
}

/** @throws CommandFailed for what was refused. */
function told<T>(asked: Promise<T>): Promise<T> {
  return asked.catch((error: unknown) => {
    if (!(error instanceof ApiError)) throw error
    const exit = error.status === 404 ? 'notFound' : error.status === 400 ? 'usage' : 'failed'
    throw new CommandFailed(exit, error.message)
  })
}

async function indexNames({ catalogue }: Pick<Store, 'catalogue'>): Promise<ReadonlyMap<string, string>> {
  return new Map((await catalogue.snapshot()).indexes.map(({ id, uid }) => [id, uid]))
}

function stepText({ step, isPaused, wish: wanted }: Move): string {
  return `${step}${isPaused ? ' (paused)' : ''}${wanted === null ? '' : ` (will be ${pastOf[wanted]})`}`
}

function progressText({ step, progress, failure, updatedAt }: Move): string {
  if (failure !== null) return failure
  if (progress.waitsFor === 'turn') return 'others copy from or to its nodes'
  if (progress.waitsFor === 'window') return 'waits for its time of day'
  const { documents, documentCount, bytes = 0, compared, copyStartedAt, keepUntil } = progress
  if (step === 'copying' && progress.copy === 'snapshot') return snapshotText(progress, copyStartedAt, updatedAt)
  if (step === 'copying' && documentCount !== undefined && documents !== undefined) {
    const seconds = copyStartedAt === undefined ? 0 : (updatedAt - copyStartedAt) / 1_000
    const rate = seconds > 0 ? documents / seconds : 0
    const left = rate > 0 ? `, ${Math.ceil((documentCount - documents) / rate)} s left` : ''
    return `${documents} of ${documentCount} documents, ${(bytes / 1e6).toFixed(1)} MB, ${Math.round(rate)}/s${left}`
  }
  if (step === 'copying' && progress.shardsCopied !== undefined)
    return `${documents ?? 0} documents, ${(bytes / 1e6).toFixed(1)} MB; ${progress.shardsCopied} old shards are over`
  if (step === 'verifying') return `${compared ?? 0} documents compared`
  if (step === 'keeping_back' && keepUntil !== undefined)
    return `can be undone until ${new Date(keepUntil).toISOString()}`
  return ''
}

function snapshotText({ bytes = 0, byteCount }: MoveProgress, startedAt = 0, now: number): string {
  if (byteCount === undefined) return 'a snapshot is being made'
  if (bytes === byteCount) return `${(bytes / 1e6).toFixed(1)} MB are there and are being restored`
  const rate = bytes / Math.max(1, (now - startedAt) / 1_000)
  const left = rate > 0 ? `, ${Math.ceil((byteCount - bytes) / rate)} s left` : ''
  return `${(bytes / 1e6).toFixed(1)} of ${(byteCount / 1e6).toFixed(1)} MB, ${(rate / 1e6).toFixed(1)} MB/s${left}`
}

function progressLine(move: Move): string {
  const progress = progressText(move)
  return `${stepText(move)}${progress === '' ? '' : `: ${progress}`}`
}

export async function moveLines(store: Store, move: Move): Promise<string> {
  const { id, index, source, target, createdAt, finishedAt } = move
  const uid = (await indexNames(store)).get(index) ?? '(deleted)'
  const lines = [
    `Move    ${id}`,
    move.kind === 'reshard' ? `Index   ${uid}, ${layoutText(move)}` : `Index   ${uid}, from ${source} to ${target}`,
    `Step    ${progressLine(move)}`,
    `Begun   ${new Date(createdAt).toISOString()}`,
  ]
  if (finishedAt !== null) lines.push(`Ended   ${new Date(finishedAt).toISOString()}`)
  const wishes = wishesAt(move.step)
  if (wishes.length > 0) lines.push(`Can be  ${wishes.map((one) => pastOf[one]).join(', ')}`)
  return lines.join('\n')
}

/** Columns: from where, and to where. */
function endsOf(move: Move): readonly [string, string] {
  return move.kind === 'reshard' ? ['all replicas', layoutText(move)] : [move.source, move.target]
}

function layoutText({ options: { reshard } }: Move): string {
  return reshard?.spread ? `into ${reshard.spread.shards} shards` : 'onto one node'
}

function planLines({ index, source, target, shards, changes, payloadBytes, ahead, keepMs }: MovePlan): string {
  return [
    `${index} would move from ${source} to ${target}${shards.length > 1 ? `, with ${shards.length} shards` : ''}.`,
    `Copied: the documents behind ${changes} changes, ${(payloadBytes / 1e6).toFixed(1)} MB of payloads at most.`,
    `Other open moves on these nodes: ${ahead}.`,
    `Kept on ${source} for ${Math.round(keepMs / 1000)} s behind the switch. Nothing was done.`,
  ].join('\n')
}
