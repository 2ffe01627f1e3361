/** `flapjack restore` and `flapjack restores …`: an index as it was at a time, or in a backup. */
import { type Command, Option } from 'commander'
import { duration } from '../config/field.ts'
import type { Store } from '../journal/open-store.ts'
import { systemClock } from '../lib/clock.ts'
import { systemRandom } from '../lib/random.ts'
import {
  openRestore,
  planRestore,
  type RestoreOrder,
  type RestorePlan,
  type RestoreRefusal,
} from '../orchestrator/backups/restore-plan.ts'
import { type Restore, type RestoreState, type RestoreWish, restoreView } from '../store/backups.ts'
import { megabytes, timeText } from './backup-command.ts'
import { chosenProject, type ProjectOption, projectOption } from './chosen-project.ts'
import type { CommandContext, RunCommand } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { dryRunOption, parsed, rateOption } from './order-options.ts'
import { requireProject } from './project-command.ts'
import { withStore } from './store-access.ts'
import { formatColumns } from './terminal.ts'

interface RestoreOptions extends ProjectOption {
  readonly at?: string
  readonly backup?: string
  readonly as?: string
  readonly into?: string
  readonly keep: number
  readonly rate?: number
  readonly wait?: boolean
  readonly dryRun?: boolean
}

const listedMax = 100
const pollMs = 200
const dayMs = 86_400_000

export function addRestoreCommand(program: Command, run: RunCommand): Command {
  return program
    .command('restore')
    .argument('<uid>', 'name that the index had then')
    .addOption(new Option('--at <time>', 'such as 2026-03-01T14:03:22Z, or `15m` for so long ago').conflicts('backup'))
    .option('--backup <id>', 'as it is in this backup')
    .option('--as <name>', 'as a new index of this name; else in the place of the one that is there')
    .option('--into <project>', 'into another project')
    .option(
      '--keep <time>',
      'how long the index that was there stays, for `flapjack restores undo`',
      parsed(duration(0, 400 * dayMs)),
      dayMs,
    )
    .option(...rateOption('brought'))
    .option('--wait', 'until it is there, with progress')
    .option(...dryRunOption)
    .option(...projectOption)
    .description(
      'Brings an index back as it was: from the last backup before that time and the journal behind it. The index that is there serves meanwhile, and stays under another name for a while.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  $ flapjack restore products --at 2026-03-01T14:03:22Z --dry-run\n  $ flapjack restore products --at 15m --as products-before --wait',
    )
    .action((uid: string, options: RestoreOptions, command: Command) =>
      run(command, (context) => restore(context, uid, options)),
    )
}

export function addRestoresCommands(program: Command, run: RunCommand): void {
  const restores = program
    .command('restores')
    .summary('restores on their way, and the way back')
    .description('Shows restores and steers them. `flapjack restore` begins one.')
  const action = (name: string, text: string, act: (context: CommandContext, id: string) => Promise<void>) =>
    restores
      .command(name)
      .argument('<id>', 'its id')
      .description(text)
      .action((id: string, _: object, command: Command) => run(command, (context) => act(context, id)))
  restores
    .command('list')
    .option(...projectOption)
    .description('Lists the newest restores into a project.')
    .action((options: ProjectOption, command: Command) => run(command, (context) => list(context, options)))
  action('show', 'Prints one restore and how far it is.', show)
  action('cancel', 'Gives it up, before the switch: what was made is removed.', (context, id) =>
    wish(context, id, 'cancel'),
  )
  action('undo', 'Puts the index that was there before back, while it is kept.', (context, id) =>
    wish(context, id, 'undo'),
  )
  action(
    'close',
    'Ends the time in which it can be undone: the index that was there before is deleted.',
    (context, id) => wish(context, id, 'close'),
  )
}

const timePattern = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d))?$/i

/** Milliseconds since 1970. @throws CommandFailed with exit code 2. */
function readTime(text: string): number {
  const ago = duration(0, 4_000 * dayMs).decode(text)
  if ('value' in ago && /[a-z]$/i.test(text)) return systemClock.now() - ago.value
  const time = timePattern.test(text) ? Date.parse(text.replace(' ', 'T')) : Number.NaN
  if (Number.isNaN(time)) {
    throw new CommandFailed(
      'usage',
      `--at: expected a time with its zone, such as 2026-03-01T14:03:22Z, or how long ago, such as 15m; found \`${text}\``,
    )
  }
  return time
}

async function restore(context: CommandContext, uid: string, options: RestoreOptions): Promise<void> {
  const { terminal, programs, config } = context
  const { at, backup, as, into, keep, rate } = options
  if (at === undefined && backup === undefined) throw new CommandFailed('usage', 'say --at TIME or --backup ID')
  const point = backup === undefined ? { at: readTime(at ?? '') } : { backup: backup.toLowerCase() }
  if ('backup' in point && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(point.backup)) {
    throw new CommandFailed('notFound', `there is no backup \`${backup}\`; \`flapjack backup list\``)
  }
  await withStore(programs, config, async (store) => {
    const project = await chosenProject(store.catalogue, options)
    const target = into === undefined ? project : await requireProject(store.catalogue, into)
    const order: RestoreOrder = {
      ...{ project, uid, point, into: target, as: as ?? null },
      ...{ keepMs: keep, bytesPerSecond: rate ?? null },
    }
    const deps = { ...store, clock: systemClock, random: systemRandom }
    if (options.dryRun === true) {
      const plan = allowed(await planRestore(deps, order))
      const { cursor: _cursor, ...view } = plan
      return terminal.answer({ ...view }, planLines(plan))
    }
    const opened = allowed(await openRestore(deps, order))
    if (options.wait !== true) {
      return terminal.answer(restoreView(opened), `Restore ${opened.id} of ${uid} begins.`)
    }
    const ended = await follow(context, store, opened)
    terminal.answer(restoreView(ended), lines(ended))
    if (ended.state !== 'done' && ended.state !== 'keeping_back') {
      throw new CommandFailed('failed', ended.failure ?? `the restore was ${ended.state}`)
    }
  })
}

const exitOf = { wrong: 'usage', unknown: 'notFound', impossible: 'failed' } as const

function allowed<T extends object>(found: T | RestoreRefusal): T {
  if ('refusal' in found) throw new CommandFailed(exitOf[found.reason], found.refusal)
  return found
}

const isSettled = (state: RestoreState): boolean =>
  state === 'done' || state === 'keeping_back' || state === 'undone' || state === 'cancelled' || state === 'failed'

async function follow({ terminal }: CommandContext, { backups }: Store, begun: Restore): Promise<Restore> {
  let shown = ''
  for (let now = begun; ; now = (await backups.getRestore(begun.id)) ?? now) {
    const line = progressText(now)
    if (line !== shown) terminal.remark(line)
    shown = line
    if (isSettled(now.state)) return now
    await systemClock.sleep(pollMs)
  }
}

async function list({ config, programs, terminal }: CommandContext, options: ProjectOption): Promise<void> {
  await withStore(programs, config, async ({ catalogue, backups }) => {
    const project = await chosenProject(catalogue, options)
    const found = await backups.listRestores({ project: project.id }, listedMax)
    const rows = found.map((one) => [one.id, one.target, new Date(one.at).toISOString(), progressText(one)])
    terminal.answer(found.map(restoreView), formatColumns([['RESTORE', 'INDEX', 'AS OF', 'STATE'], ...rows]))
  })
}

async function show({ config, programs, terminal }: CommandContext, id: string): Promise<void> {
  await withStore(programs, config, async (store) => {
    const found = await requireRestore(store, id)
    terminal.answer(restoreView(found), lines(found))
  })
}

const possible: Readonly<Record<RestoreWish, readonly RestoreState[]>> = {
  cancel: ['waiting', 'filling', 'catching_up'],
  undo: ['keeping_back'],
  close: ['keeping_back'],
}
const pastOf: Readonly<Record<RestoreWish, string>> = { cancel: 'cancelled', undo: 'undone', close: 'closed' }

async function wish({ config, programs, terminal }: CommandContext, id: string, wanted: RestoreWish): Promise<void> {
  await withStore(programs, config, async (store) => {
    const found = await requireRestore(store, id)
    if (!(await store.backups.wishRestore(found.id, wanted, possible[wanted]))) {
      const { state } = await requireRestore(store, id)
      throw new CommandFailed('failed', `the restore is ${state}: it cannot be ${pastOf[wanted]}`)
    }
    const now = await requireRestore(store, id)
    terminal.answer(restoreView(now), `Restore ${now.id} will be ${pastOf[wanted]}.`)
  })
}

async function requireRestore({ backups }: Pick<Store, 'backups'>, id: string): Promise<Restore> {
  const isId = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)
  const found = isId ? await backups.getRestore(id.toLowerCase()) : undefined
  if (found === undefined)
    throw new CommandFailed('notFound', `there is no restore \`${id}\`; \`flapjack restores list\``)
  return found
}

function progressText({ state, failure, changes, lines: count, bytes, keepUntil, wish: wanted }: Restore): string {
  const will = wanted === null ? '' : ` (will be ${pastOf[wanted]})`
  if (failure !== null) return `${state}${will}: ${failure}`
  if (state === 'filling') return `filling${will}: ${count} documents in ${changes} changes, ${megabytes(bytes)}`
  if (state === 'keeping_back' && keepUntil !== null) {
    return `keeping_back${will}: can be undone until ${new Date(keepUntil).toISOString()}`
  }
  return `${state}${will}`
}

function lines(restored: Restore): string {
  const { id, uid, target, workUid, replaced, at, backup, position } = restored
  const found = [
    `Restore  ${id}`,
    `Index    ${uid} as of ${new Date(at).toISOString()}, position ${position}, ${backup === null ? 'from the journal' : `from backup ${backup}`}`,
    `As       ${target}${replaced === null ? '' : `; what was there before is ${workUid} when it is done`}`,
    `State    ${progressText(restored)}`,
  ]
  return found.join('\n')
}

function planLines(plan: RestorePlan): string {
  const { uid, target, workUid, replaced, at, backup, position, keepMs } = plan
  const { backupBytes, backupDocuments, changesToBring, payloadBytes } = plan
  return [
    `${uid} would be restored as of ${new Date(at).toISOString()}, position ${position} of its journal.`,
    backup === null
      ? 'From the beginning of its journal.'
      : `From backup ${backup}: ${backupDocuments} lines of documents, ${megabytes(backupBytes)} compressed.`,
    `From the journal behind it: ${changesToBring} changes, ${megabytes(payloadBytes)} of payloads.`,
    replaced === null
      ? `It becomes the index ${target}.`
      : `It takes the place of ${target}, which serves until then and stays as ${workUid} for ${timeText(keepMs)}.`,
    'Nothing was done.',
  ].join('\n')
}
