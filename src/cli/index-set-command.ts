/** `flapjack index set`: how many copies an index has, and where in the world it is, changed while it serves. */
import { type Command, InvalidArgumentError } from 'commander'
import type { WantedLayout } from '../journal/ports.ts'
import { chosenProject, type ProjectOption, projectOption } from './chosen-project.ts'
import type { CommandContext, RunCommand } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { dryRunOption, waitOption } from './order-options.ts'
import { awaitMoves, planLines, plannedFor, planView } from './rebalance-view.ts'
import { withStore } from './store-access.ts'

interface SetOptions extends ProjectOption {
  readonly rf?: string
  readonly groups?: readonly number[] | null
  readonly region?: string
  readonly dryRun?: boolean
  readonly wait?: boolean
}

export function addIndexSet(index: Command, run: RunCommand): void {
  index
    .command('set')
    .argument('<uid>', 'its name')
    // Read as a field of the configuration as well, which checks it.
    .option('--rf <number>', 'of a spread index: copies of each shard in a replica group')
    .option(
      '--groups <numbers>',
      'of a spread index: the replica groups that hold it, such as `0,1`, or `all`',
      parseGroups,
    )
    .option('--region <name>', 'where in the world it is: of a spread index, the groups whose nodes are there')
    .option(...dryRunOption)
    .option(...waitOption)
    .option(...projectOption)
    .description('Changes how many copies an index has and where, while it is read and written.')
    .action((uid: string, options: SetOptions, command: Command) =>
      run(command, (context) => setIndex(context, uid, options)),
    )
}

function parseGroups(text: string): readonly number[] | null {
  if (text === 'all') return null
  if (!/^\d{1,2}(,\d{1,2})*$/.test(text)) throw new InvalidArgumentError('numbers such as 0,1 are expected, or `all`')
  return [...new Set(text.split(',').map(Number))].sort((a, b) => a - b)
}

async function setIndex(context: CommandContext, uid: string, options: SetOptions): Promise<void> {
  const { terminal } = context
  const { region, dryRun, wait } = options
  const copies = options.rf === undefined ? undefined : context.config.cluster.replicationFactor
  await withStore(context.programs, context.config, async (store) => {
    const project = await chosenProject(store.catalogue, options)
    const { indexes, nodes } = await store.catalogue.snapshot()
    const index = indexes.find((one) => one.project === project.id && one.uid === uid)
    if (index === undefined) {
      throw new CommandFailed(
        'notFound',
        `project \`${project.name}\` has no index \`${uid}\`; \`flapjack index list\``,
      )
    }
    const inRegion = nodes.filter((node) => node.region === region && node.state === 'active')
    if (region !== undefined && inRegion.length === 0)
      throw new CommandFailed('failed', `no active node is in region \`${region}\``)
    if (index.spread === null && (copies !== undefined || options.groups !== undefined))
      throw new CommandFailed('usage', `\`${uid}\` is plain: it has one copy; \`flapjack index reshard\` spreads it`)
    const ofRegion =
      region === undefined ? undefined : [...new Set(inRegion.map(({ group }) => group))].sort((a, b) => a - b)
    const groups = options.groups === undefined ? ofRegion : options.groups
    for (const group of groups ?? []) {
      if (!nodes.some((node) => node.group === group && node.state === 'active'))
        throw new CommandFailed('failed', `replica group ${group} has no active node; \`flapjack group list\``)
    }
    const wanted: WantedLayout = {
      ...(copies === undefined ? {} : { replicationFactor: copies }),
      ...(index.spread === null || groups === undefined ? {} : { groups }),
      ...(index.spread !== null || region === undefined ? {} : { region }),
    }
    if (Object.keys(wanted).length === 0)
      throw new CommandFailed('usage', 'say what to change: --rf, --groups or --region')
    // Nodes of the groups take this index, whatever else they leave alone.
    const takers = nodes.flatMap((node) => (groups?.includes(node.group) && node.state === 'active' ? [node.id] : []))
    const plan = await plannedFor(store, (fleet) => ({
      ...fleet,
      nodes: fleet.nodes.map((node) => (takers.includes(node.id) ? { ...node, takesExisting: true } : node)),
      layouts: fleet.layouts.flatMap((layout) => {
        if (layout.index !== index.id) return []
        const { replicationFactor, ...place } = wanted
        const spread = layout.spread && {
          ...layout.spread,
          ...(replicationFactor === undefined ? {} : { replicationFactor }),
        }
        return [{ ...layout, spread, wanted: { ...layout.wanted, ...place } }]
      }),
    }))
    const view = { index: uid, ...planView(plan) }
    if (dryRun === true) return terminal.answer(view, [...planLines(plan), 'Nothing was done.'].join('\n'))
    await store.catalogue.letNodesTake(takers, true)
    await store.replicas.want(index.id, wanted)
    if (wait === true) await awaitMoves(store, terminal, (move) => move.index === index.id)
    terminal.answer(view, [wait === true ? 'Done.' : 'It begins.', ...planLines(plan)].join('\n'))
  })
}
