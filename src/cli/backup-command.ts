/** `flapjack backup …`: backups of indexes, and when they are made. */
import { type Command, InvalidArgumentError } from 'commander'
import { duration } from '../config/field.ts'
import type { Store } from '../journal/open-store.ts'
import { systemClock } from '../lib/clock.ts'
import { systemRandom } from '../lib/random.ts'
import { adoptBackups } from '../orchestrator/backups/backup-adoption.ts'
import { objectsOf } from '../orchestrator/backups/backup-context.ts'
import { openBackup } from '../orchestrator/backups/backup-keeper.ts'
import { backupPurpose } from '../orchestrator/backups/backup-parts.ts'
import { verifyBackup } from '../orchestrator/backups/backup-verification.ts'
import { openBackupObjects } from '../orchestrator/object-place.ts'
import { type Backup, type BackupPolicy, backupView } from '../store/backups.ts'
import type { Project } from '../store/catalogue.ts'
import { chosenProject, type ProjectOption, projectOption } from './chosen-project.ts'
import type { CommandContext, RunCommand } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { parsed, rateOption } from './order-options.ts'
import { withStore } from './store-access.ts'
import { formatColumns } from './terminal.ts'

interface CreateOptions extends ProjectOption {
  readonly rate?: number
  readonly wait?: boolean
}

interface ScheduleOptions extends ProjectOption {
  readonly every: number
  readonly keep: number
  readonly keepFor?: number
}

const listedMax = 1_000
const pollMs = 200
const dayMs = 86_400_000

export function addBackupCommands(program: Command, run: RunCommand): void {
  const backup = program
    .command('backup')
    .summary('backups of indexes')
    .description(
      'Makes and keeps backups of indexes while they are read and written. `flapjack restore` brings an index back. Where backups lie: `backups.target` of the configuration.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  $ flapjack backup create products --wait\n  $ flapjack backup schedule --every 1d --keep 7 --keep-for 30d\n  $ flapjack backup list products',
    )

  backup
    .command('create')
    .argument('[uid]', 'name of the index; all of the project when left out')
    .option(...rateOption('written'))
    .option('--wait', 'until it is there, with progress')
    .option(...projectOption)
    .description('Makes a backup: settings and documents as they are at one position of the journal.')
    .action((uid: string | undefined, options: CreateOptions, command: Command) =>
      run(command, (context) => create(context, uid, options)),
    )
  backup
    .command('list')
    .argument('[uid]', 'only those of this index')
    .option(...projectOption)
    .description('Lists backups of a project, the newest first.')
    .action((uid: string | undefined, options: ProjectOption, command: Command) =>
      run(command, (context) => list(context, uid, options)),
    )
  const action = (name: string, text: string, act: (context: CommandContext, id: string) => Promise<void>) =>
    backup
      .command(name)
      .argument('<id>', 'its id')
      .description(text)
      .action((id: string, _: object, command: Command) => run(command, (context) => act(context, id)))
  action('show', 'Prints one backup, or how far it is.', show)
  action('delete', 'Deletes a backup; one that is being made is given up.', remove)
  action('verify', 'Reads a backup whole and compares every part with its manifest. Restores nothing.', verify)

  backup
    .command('adopt')
    .argument('<reference>', 'of the project that made them: the first part of their names')
    .option(...projectOption)
    .description(
      'Takes over backups that lie in the configured place and that this database does not know: of another installation, or of this one before its database was lost. It takes the sealing key under which they were made.',
    )
    .action((reference: string, options: ProjectOption, command: Command) =>
      run(command, (context) => adopt(context, reference, options)),
    )
  backup
    .command('schedule')
    .argument('[uid]', 'name of the index; all of the project that have no schedule of their own when left out')
    .requiredOption('--every <time>', 'such as 6h or 1d', parsed(duration(60_000, 400 * dayMs)))
    .option('--keep <number>', 'how many are kept', parseCount, 7)
    .option(
      '--keep-for <time>',
      'and those that are younger than this, such as 30d',
      parsed(duration(0, 4_000 * dayMs)),
    )
    .option(...projectOption)
    .description(
      'Makes backups from now on. Those that people asked for are not counted and stay until they are deleted.',
    )
    .action((uid: string | undefined, options: ScheduleOptions, command: Command) =>
      run(command, (context) => schedule(context, uid, options)),
    )
  backup
    .command('schedules')
    .option(...projectOption)
    .description('Lists the schedules of a project.')
    .action((options: ProjectOption, command: Command) => run(command, (context) => schedules(context, options)))
  backup
    .command('unschedule')
    .argument('[uid]', 'name of the index; the schedule of the whole project when left out')
    .option(...projectOption)
    .description('Makes no more of them. Backups that are there stay.')
    .action((uid: string | undefined, options: ProjectOption, command: Command) =>
      run(command, (context) => unschedule(context, uid, options)),
    )
}

function parseCount(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('expected: a whole number, 1 or more')
  return Number(text)
}

async function create(context: CommandContext, uid: string | undefined, options: CreateOptions): Promise<void> {
  const { terminal } = context
  await withStore(context.programs, context.config, async (store) => {
    const project = await chosenProject(store.catalogue, options)
    const { indexes } = await store.catalogue.snapshot()
    const chosen = indexes.filter((one) => one.project === project.id && (uid === undefined || one.uid === uid))
    if (chosen.length === 0) throw new CommandFailed('notFound', noIndex(project, uid))
    const deps = { backups: store.backups, clock: systemClock, random: systemRandom }
    const opened: Backup[] = []
    for (const index of chosen) {
      const wanted = { isScheduled: false, bytesPerSecond: options.rate ?? null }
      const backup = await openBackup(deps, index, wanted)
      if (backup !== undefined) opened.push(backup)
      else if (uid !== undefined) {
        throw new CommandFailed('failed', `a backup of \`${uid}\` is being made; \`flapjack backup list ${uid}\``)
      }
    }
    if (options.wait !== true) {
      const begins = opened.map(({ id, uid: name }) => `Backup ${id} of ${name} begins.`)
      return terminal.answer(uid === undefined ? opened.map(backupView) : backupView(opened[0]!), begins.join('\n'))
    }
    const made: Backup[] = []
    for (const backup of opened) made.push(await follow(context, store, backup))
    terminal.answer(uid === undefined ? made.map(backupView) : backupView(made[0]!), made.map(lines).join('\n\n'))
    const failed = made.find(({ state }) => state !== 'done')
    if (failed !== undefined) throw new CommandFailed('failed', failed.failure ?? `the backup is ${failed.state}`)
  })
}

function noIndex(project: Project, uid: string | undefined): string {
  if (uid === undefined) return `project \`${project.name}\` has no indexes`
  return `project \`${project.name}\` has no index \`${uid}\`; \`flapjack index list\``
}

async function follow({ terminal }: CommandContext, { backups }: Store, begun: Backup): Promise<Backup> {
  let shown = ''
  for (let backup = begun; ; ) {
    const line = `${backup.uid}: ${progressText(backup)}`
    if (line !== shown) terminal.remark(line)
    shown = line
    if (backup.state === 'done' || backup.state === 'failed') return backup
    await systemClock.sleep(pollMs)
    const now = await backups.get(begun.id)
    if (now === undefined || now.state === 'deleting') throw new CommandFailed('failed', 'the backup was deleted')
    backup = now
  }
}

async function list(context: CommandContext, uid: string | undefined, options: ProjectOption): Promise<void> {
  const { config, programs, terminal } = context
  await withStore(programs, config, async ({ catalogue, backups }) => {
    const project = await chosenProject(catalogue, options)
    const all = await backups.list({ project: project.id }, listedMax)
    const found = all.filter((one) => uid === undefined || one.uid === uid)
    const rows = found.map((one) => [
      ...[one.id, one.uid, one.takenAt === null ? '' : new Date(one.takenAt).toISOString()],
      ...[String(one.documents), megabytes(one.byteCount), one.isScheduled ? 'schedule' : 'person', progressText(one)],
    ])
    const head = ['BACKUP', 'INDEX', 'AS OF', 'DOCUMENTS', 'SIZE', 'BY', 'STATE']
    terminal.answer(found.map(backupView), formatColumns([head, ...rows]))
  })
}

async function show({ config, programs, terminal }: CommandContext, id: string): Promise<void> {
  await withStore(programs, config, async (store) => {
    const backup = await requireBackup(store, id)
    terminal.answer(backupView(backup), lines(backup))
  })
}

async function remove({ config, programs, terminal }: CommandContext, id: string): Promise<void> {
  await withStore(programs, config, async (store) => {
    const backup = await requireBackup(store, id)
    const isDoomed = await store.backups.doom(backup.id)
    if (!isDoomed && (await store.backups.get(backup.id))?.state === backup.state && backup.state !== 'deleting') {
      throw new CommandFailed('failed', 'a restore reads this backup; `flapjack restores list`')
    }
    terminal.answer({ id: backup.id, state: 'deleting' }, `Backup ${backup.id} of ${backup.uid} is being deleted.`)
  })
}

async function verify({ config, programs, terminal }: CommandContext, id: string): Promise<void> {
  await withStore(programs, config, async (store) => {
    const backup = await requireBackup(store, id)
    if (backup.state !== 'done') throw new CommandFailed('failed', `backup ${backup.id} is ${backup.state}`)
    const objects = await openBackupObjects(config)
    try {
      const secret = store.localSecret(backupPurpose)
      await objectsOf({ objects: async () => objects }, backup)
      const found = await verifyBackup(objects, backup, secret, AbortSignal.timeout(dayMs), (done, all) =>
        terminal.remark(`${done} of ${all} parts`),
      )
      const text = found.faults.length === 0 ? 'Every part is what the manifest says.' : found.faults.join('\n')
      terminal.answer({ ...found, faults: [...found.faults] }, text)
      if (found.faults.length > 0) throw new CommandFailed('failed', `backup ${backup.id} cannot be restored whole`)
    } finally {
      objects.close()
    }
  })
}

async function adopt(context: CommandContext, reference: string, options: ProjectOption): Promise<void> {
  const { config, programs, terminal } = context
  if (!/^[a-z][a-z0-9]{11}$/.test(reference)) {
    throw new CommandFailed('usage', `\`${reference}\` is not a project's reference: 12 letters and digits`)
  }
  await withStore(programs, config, async (store) => {
    const project = await chosenProject(store.catalogue, options)
    const objects = await openBackupObjects(config)
    try {
      const deps = { objects, backups: store.backups, secret: store.localSecret(backupPurpose) }
      const { adopted, known, faults } = await adoptBackups(deps, reference, project, AbortSignal.timeout(dayMs))
      const text = [`${adopted.length} taken over, ${known.length} known before.`, ...faults]
      terminal.answer({ adopted: [...adopted], known: [...known], faults: [...faults] }, text.join('\n'))
      if (adopted.length + known.length + faults.length === 0) {
        throw new CommandFailed('notFound', `there are no backups of \`${reference}\` in ${objects.place}`)
      }
      if (faults.length > 0) throw new CommandFailed('failed', `${faults.length} manifests cannot be read`)
    } finally {
      objects.close()
    }
  })
}

async function requireBackup({ backups }: Pick<Store, 'backups'>, id: string): Promise<Backup> {
  const isId = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)
  const found = isId ? await backups.get(id.toLowerCase()) : undefined
  if (found === undefined) throw new CommandFailed('notFound', `there is no backup \`${id}\`; \`flapjack backup list\``)
  return found
}

async function schedule(context: CommandContext, uid: string | undefined, options: ScheduleOptions): Promise<void> {
  const { config, programs, terminal } = context
  await withStore(programs, config, async ({ catalogue, backups }) => {
    const project = await chosenProject(catalogue, options)
    const { every: everyMs, keep: keepCount, keepFor: keepMs = null } = options
    const policy = { project: project.id, uid: uid ?? null, everyMs, keepCount, keepMs }
    await backups.putPolicy(policy)
    terminal.answer({ ...policy }, policyText(policy))
  })
}

async function schedules({ config, programs, terminal }: CommandContext, options: ProjectOption): Promise<void> {
  await withStore(programs, config, async ({ catalogue, backups }) => {
    const project = await chosenProject(catalogue, options)
    const policies = await backups.policies(project.id)
    const text = policies.length === 0 ? 'No backups are made by themselves.' : policies.map(policyText).join('\n')
    terminal.answer(
      policies.map((policy) => ({ ...policy })),
      text,
    )
  })
}

async function unschedule(context: CommandContext, uid: string | undefined, options: ProjectOption): Promise<void> {
  const { config, programs, terminal } = context
  await withStore(programs, config, async ({ catalogue, backups }) => {
    const project = await chosenProject(catalogue, options)
    if (!(await backups.deletePolicy(project.id, uid ?? null))) {
      throw new CommandFailed('notFound', 'there is no such schedule; `flapjack backup schedules`')
    }
    terminal.answer({ project: project.id, uid: uid ?? null }, 'No more backups are made by it.')
  })
}

function policyText({ uid, everyMs, keepCount, keepMs }: BackupPolicy): string {
  const whose = uid ?? 'Every index without a schedule of its own'
  return `${whose}: a backup every ${timeText(everyMs)}; the newest ${keepCount} are kept${keepMs === null ? '' : `, and those of the last ${timeText(keepMs)}`}.`
}

export function timeText(ms: number): string {
  for (const [unit, size] of [
    ['d', dayMs],
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1_000],
  ] as const) {
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`
  }
  return `${ms}ms`
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}

function progressText({ state, failure, documents, documentCount, byteCount: bytes }: Backup): string {
  const why = failure === null ? '' : `: ${failure}`
  if (state === 'copying' && documentCount !== null) {
    return `copying, ${documents} of ${documentCount} documents, ${megabytes(bytes)}${why}`
  }
  return `${state}${why}`
}

function lines(backup: Backup): string {
  const { id, uid, takenAt, position, documents, byteCount: bytes, parts, place, folder, createdAt } = backup
  const found = [`Backup    ${id}`, `Index     ${uid}`, `State     ${progressText(backup)}`]
  found.push(`Begun     ${new Date(createdAt).toISOString()}`)
  if (takenAt !== null) found.push(`As of     ${new Date(takenAt).toISOString()}, position ${position}`)
  if (place !== null)
    found.push(`Holds     ${documents} lines of documents in ${parts.length} parts, ${megabytes(bytes)}`)
  if (place !== null) found.push(`Lies in   ${place}/${folder ?? ''}`)
  return found.join('\n')
}
