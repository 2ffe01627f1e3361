/** `flapjack group …` and `flapjack rebalance`: replica groups that come and go, and nodes that take their part of what exists. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { addNode, groupsMax } from '../control/node-registration.ts'
import { systemClock } from '../lib/clock.ts'
import { localRegion } from '../orchestrator/local-driver.ts'
import { layoutNode } from '../orchestrator/reconciler/layout-fleet.ts'
import type { EngineKind, Node, NodeId } from '../store/catalogue.ts'
import type { CommandContext, RunCommand } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { commandFailure, drainAll, draining } from './node-leave-command.ts'
import { dryRunOption, waitOption } from './order-options.ts'
import { awaitMoves, planLines, plannedFor, planView } from './rebalance-view.ts'
import { withStore } from './store-access.ts'
import { formatColumns } from './terminal.ts'

interface GroupOptions {
  readonly node?: readonly string[]
  readonly key?: string
  readonly region: string
  readonly engine: EngineKind
  readonly dryRun?: boolean
  readonly wait?: boolean
}

export function addGroupCommands(program: Command, run: RunCommand): void {
  const group = program
    .command('group')
    .summary('replica groups: sets of nodes that hold every shard together')
    .description(
      'Each replica group holds every spread index whole. Reads choose one; a region is a group that is near.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  $ flapjack group add 1 --region us --node us-1=http://10.1.0.7:7700 --node us-2=http://10.1.0.8:7700 --key K\n  $ flapjack group remove 0 --dry-run',
    )
  group
    .command('list')
    .description('Lists replica groups and their nodes.')
    .action((_: object, command: Command) => run(command, listGroups))
  group
    .command('add')
    .argument('<number>', 'its number, from 0', parseGroup)
    .option('--node <id=url>', 'a node of it; repeat it', collect)
    .option('--key <key>', 'master key of the nodes')
    .option('--region <name>', 'where in the world they are', localRegion)
    .addOption(
      new Option('--engine <kind>', 'what they run').choices(['embedded', 'meilisearch']).default('meilisearch'),
    )
    .option(...dryRunOption)
    .option(...waitOption)
    .description(
      'Adds nodes as a replica group. Every spread index is copied to it while it serves; then the group is read.',
    )
    .action((number: number, options: GroupOptions, command: Command) =>
      run(command, (context) => addGroup(context, number, options)),
    )
  group
    .command('remove')
    .argument('<number>', 'its number', parseGroup)
    .option(...dryRunOption)
    .option(...waitOption)
    .description('Drains all nodes of a group. Other groups hold its spread indexes; plain ones are moved.')
    .action((number: number, options: GroupOptions, command: Command) =>
      run(command, (context) => removeGroup(context, number, options)),
    )

  program
    .command('rebalance')
    .option('--group <number>', 'only nodes of this replica group', parseGroup)
    .option('--stop', 'nodes take new indexes only, beyond what they hold')
    .option(...dryRunOption)
    .option(...waitOption)
    .summary('nodes take their part of indexes that exist')
    .description(
      'Lets nodes take the shards that they win by rendezvous hashing, also of indexes that were there before them.',
    )
    .action((options: { group?: number; stop?: boolean; dryRun?: boolean; wait?: boolean }, command: Command) =>
      run(command, (context) => rebalance(context, options)),
    )
}

function parseGroup(text: string): number {
  if (!/^\d{1,2}$/.test(text) || Number(text) >= groupsMax)
    throw new InvalidArgumentError(`a number from 0 to ${groupsMax - 1} is expected`)
  return Number(text)
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  if (!/^[^=]+=.+$/.test(text)) throw new InvalidArgumentError('ID=URL is expected')
  return [...before, text]
}

async function listGroups({ config, terminal, programs }: CommandContext): Promise<void> {
  await withStore(programs, config, async ({ catalogue }) => {
    const nodes = await catalogue.nodes()
    const groups = [...new Set(nodes.map(({ group }) => group))]
      .sort((a, b) => a - b)
      .map((group) => {
        const members = nodes.filter((node) => node.group === group)
        return {
          group,
          nodes: members.map(({ id }) => id),
          regions: [...new Set(members.map(({ region }) => region))],
          active: members.filter(({ state }) => state === 'active').length,
        }
      })
    const rows = groups.map(({ group, nodes: ids, regions, active }) => [
      ...[String(group), regions.join(','), `${active} of ${ids.length}`, ids.join(',')],
    ])
    terminal.answer(groups, formatColumns([['GROUP', 'REGION', 'ACTIVE', 'NODES'], ...rows]))
  })
}

async function addGroup(context: CommandContext, group: number, options: GroupOptions): Promise<void> {
  const { node: named = [], key = null, region, engine, dryRun, wait } = options
  const { terminal } = context
  await withStore(context.programs, context.config, async (store) => {
    const known = await store.catalogue.nodes()
    if (named.length === 0 && !known.some((node) => node.group === group))
      throw new CommandFailed('usage', 'name its nodes: --node ID=URL')
    const fresh = named.map((text): Node => {
      const at = text.indexOf('=')
      const [id, url] = [text.slice(0, at), text.slice(at + 1)]
      return { id, url, key, region, group, engine, capacity: null, state: 'active' }
    })
    const plan = await plannedFor(store, (fleet) => ({
      ...fleet,
      nodes: [
        ...fleet.nodes.map((node) => (node.group === group ? { ...node, takesExisting: true } : node)),
        ...fresh.map((node) => ({ ...layoutNode(node, true), takesExisting: true })),
      ],
    }))
    const view = { group, ...planView(plan) }
    if (dryRun === true) return terminal.answer(view, [...planLines(plan), 'Nothing was done.'].join('\n'))
    const deps = { catalogue: store.catalogue, clock: systemClock, signal: new AbortController().signal }
    // All of them before any is filled: shards go to their place at once.
    for (const node of fresh) await addNode(node, deps).catch(commandFailure)
    const members = (await store.catalogue.nodes()).flatMap((node) => (node.group === group ? [node.id] : []))
    await store.catalogue.letNodesTake(members, true)
    if (wait === true) await awaitMoves(store, terminal, concerning(members))
    const end = wait === true ? 'holds every spread index' : 'is being filled; `flapjack move list --open` shows it'
    terminal.answer(view, [`Replica group ${group} ${end}.`, ...planLines(plan)].join('\n'))
  })
}

const concerning =
  (ids: readonly NodeId[]) =>
  ({ nodes }: { readonly nodes: readonly NodeId[] }): boolean =>
    nodes.some((id) => ids.includes(id))

async function removeGroup(
  context: CommandContext,
  group: number,
  { dryRun, wait }: Pick<GroupOptions, 'dryRun' | 'wait'>,
): Promise<void> {
  const { terminal } = context
  await withStore(context.programs, context.config, async (store) => {
    const nodes = await store.catalogue.nodes()
    const members = nodes.flatMap((node) => (node.group === group ? [node.id] : []))
    if (members.length === 0) throw new CommandFailed('notFound', `no replica group ${group}; \`flapjack group list\``)
    if (!nodes.some((node) => node.group !== group && node.state === 'active'))
      throw new CommandFailed('failed', `replica group ${group} is the last one`)
    const plan = await plannedFor(store, draining(new Set(members)))
    const view = { group, ...planView(plan) }
    if (dryRun === true) return terminal.answer(view, [...planLines(plan), 'Nothing was done.'].join('\n'))
    await drainAll(store, members)
    if (wait === true) await awaitMoves(store, terminal, concerning(members))
    const end = wait === true ? 'is empty: `flapjack node remove` forgets its nodes' : 'drains'
    terminal.answer(view, [`Replica group ${group} ${end}.`, ...planLines(plan)].join('\n'))
  })
}

async function rebalance(
  context: CommandContext,
  { group, stop = false, dryRun, wait }: { group?: number; stop?: boolean; dryRun?: boolean; wait?: boolean },
): Promise<void> {
  const { terminal } = context
  await withStore(context.programs, context.config, async (store) => {
    const nodes = (await store.catalogue.nodes()).filter(
      (node) => node.state === 'active' && (group === undefined || node.group === group),
    )
    const ids = nodes.map(({ id }) => id)
    const plan = await plannedFor(store, (fleet) => ({
      ...fleet,
      nodes: fleet.nodes.map((node) => (ids.includes(node.id) ? { ...node, takesExisting: !stop } : node)),
    }))
    const view = planView(plan)
    if (dryRun === true) return terminal.answer(view, [...planLines(plan), 'Nothing was done.'].join('\n'))
    await store.catalogue.letNodesTake(ids, !stop)
    if (wait === true) await awaitMoves(store, terminal, concerning(ids))
    terminal.answer(view, planLines(plan).join('\n'))
  })
}
