/** `flapjack index …`: how indexes lie on nodes. What is in them is the business of the API. */
import { type Command, Option } from 'commander'
import { isIndexUid, wrongIndexUid } from '../api/index-uid.ts'
import type { TaskView } from '../api/tasks.ts'
import type { Journal } from '../journal/ports.ts'
import { systemClock } from '../lib/clock.ts'
import type { Project, Spread } from '../store/catalogue.ts'
import { chosenProject, type ProjectOption, projectOption } from './chosen-project.ts'
import { addIndexClone } from './clone-command.ts'
import type { CommandContext, RunCommand } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { addIndexSet } from './index-set-command.ts'
import { indexLines, indexView, layoutOf, placementsByIndex } from './index-view.ts'
import { addIndexMove } from './move-command.ts'
import { addIndexReshard } from './reshard-command.ts'
import { withStore } from './store-access.ts'
import { formatColumns } from './terminal.ts'

interface NewIndexOptions extends ProjectOption {
  readonly plain?: boolean
  readonly exactTies?: boolean
  readonly primaryKey?: string
}

/** A worker that runs creates it at once. */
const createdMsMax = 30_000
const pollMs = 50

export function addIndexCommands(program: Command, run: RunCommand): void {
  const index = program
    .command('index')
    .summary('how indexes lie on nodes')
    .description('Indexes are plain, whole on one node, or spread: divided into shards over many nodes.')
    .addHelpText(
      'after',
      '\nExamples:\n  $ flapjack index create products --shards 16 --rf 2 --primary-key id\n  $ flapjack index show products --json',
    )

  index
    .command('create')
    .argument('<uid>', 'its name')
    // These two are read as fields of the configuration, which says what holds when they are left out.
    .option('--shards <number>', 'shards of a spread index; as configured when left out')
    .option('--rf <number>', 'copies of each shard in a replica group; as configured when left out')
    .addOption(new Option('--plain', 'whole on one node, whatever is configured').conflicts(['shards', 'rf']))
    .option(
      '--no-exact-ties',
      'documents that rank equally come in the order of their last write: writes look nothing up',
    )
    .option('--primary-key <name>', 'the field that identifies a document')
    .option(...projectOption)
    .description('Creates an index and waits until it is there. How it lies stays so.')
    .action((uid: string, options: NewIndexOptions, command: Command) =>
      run(command, (context) => createIndex(context, uid, options)),
    )

  index
    .command('list')
    .option(...projectOption)
    .description('Lists the indexes of a project and how they lie.')
    .action((options: ProjectOption, command: Command) => run(command, (context) => listIndexes(context, options)))

  index
    .command('show')
    .argument('<uid>', 'its name')
    .option(...projectOption)
    .description('Prints where each replica of an index is, and how far it has got.')
    .action((uid: string, options: ProjectOption, command: Command) =>
      run(command, (context) => showIndex(context, uid, options)),
    )
  addIndexMove(index, run)
  addIndexSet(index, run)
  addIndexReshard(index, run)
  addIndexClone(index, run)
}

async function createIndex(context: CommandContext, uid: string, options: NewIndexOptions): Promise<void> {
  const { terminal, programs, config } = context
  const { primaryKey = null } = options
  const { shards, replicationFactor } = config.cluster
  if (!isIndexUid(uid)) throw new CommandFailed('usage', wrongIndexUid(uid))
  const exactTies = options.exactTies !== false && config.cluster.exactTies
  const spread: Spread | null =
    options.plain === true || shards === null ? null : { shards, replicationFactor, exactTies }
  if (spread === null && options.exactTies === false) {
    throw new CommandFailed('usage', '--no-exact-ties is of spread indexes: give --shards too')
  }
  await withStore(programs, config, async (store) => {
    const project = await chosenProject(store.catalogue, options)
    const outcome = await store.journal.append({
      project: project.id,
      uid,
      operation: { kind: 'index-create', primaryKey },
      payload: null,
      customMetadata: null,
      mayCreateIndex: true,
      spread,
      refusal: null,
    })
    if (outcome.kind === 'unavailable')
      throw new CommandFailed('storeUnavailable', 'the database takes no writes', outcome)
    if (outcome.kind !== 'appended')
      throw new CommandFailed('failed', 'no node takes new indexes; `flapjack node list`')
    const task = await ended(store.journal, project, outcome.task)
    if (task === undefined) {
      terminal.answer(
        { task: outcome.task, status: 'enqueued' },
        `Task ${outcome.task} waits: no worker is there to carry it out. It will be done when one runs.`,
      )
      return
    }
    if (task.status !== 'succeeded')
      throw new CommandFailed('failed', task.error?.message ?? `the task was ${task.status}`)
    const view = await indexView(store, project, uid)
    terminal.answer(view, `Created ${uid}.\n${indexLines(view)}`)
  })
}

/** The task when it has ended; `undefined` = nobody works on it. */
async function ended(journal: Pick<Journal, 'task'>, project: Project, uid: number): Promise<TaskView | undefined> {
  const deadline = systemClock.monotonic() + createdMsMax
  while (systemClock.monotonic() < deadline) {
    const task = await journal.task(project.id, uid)
    if (task !== undefined && task.status !== 'enqueued' && task.status !== 'processing') return task
    await systemClock.sleep(pollMs)
  }
  return undefined
}

async function listIndexes({ config, terminal, programs }: CommandContext, options: ProjectOption): Promise<void> {
  await withStore(programs, config, async ({ catalogue }) => {
    const project = await chosenProject(catalogue, options)
    const snapshot = await catalogue.snapshot()
    const placements = placementsByIndex(snapshot)
    const views = snapshot.indexes
      .filter((index) => index.project === project.id)
      .sort((a, b) => (a.uid < b.uid ? -1 : 1))
      .map((index) => {
        const replicas = placements.get(index.id) ?? []
        return { ...layoutOf(index), nodes: replicas.map(({ node }) => node).sort() }
      })
    const rows = views.map(({ uid, primaryKey, spread, nodes }) => [
      ...[uid, primaryKey ?? '', spread === null ? 'plain' : `${spread.shards} × ${spread.replicationFactor}`],
      nodes.join(','),
    ])
    terminal.answer(views, formatColumns([['INDEX', 'PRIMARY KEY', 'SHARDS × COPIES', 'NODES'], ...rows]))
  })
}

async function showIndex(
  { config, terminal, programs }: CommandContext,
  uid: string,
  options: ProjectOption,
): Promise<void> {
  await withStore(programs, config, async (store) => {
    const project = await chosenProject(store.catalogue, options)
    const view = await indexView(store, project, uid)
    terminal.answer(view, indexLines(view))
  })
}
