/** `flapjack node …`: the engine nodes on which indexes live. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { machineView, sampleView } from '../control/fleet-orders.ts'
import { addNode } from '../control/node-registration.ts'
import type { LaneJournal } from '../journal/ports.ts'
import { systemClock } from '../lib/clock.ts'
import type { JsonObject } from '../lib/json.ts'
import { localRegion } from '../orchestrator/local-driver.ts'
import { layoutNode } from '../orchestrator/reconciler/layout-fleet.ts'
import type { EngineKind, Node, Placement } from '../store/catalogue.ts'
import type { CatalogueSnapshot } from '../store/ports.ts'
import type { CommandContext, RunCommand } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { addLeavingCommands, commandFailure } from './node-leave-command.ts'
import { addUpgradeCommand } from './node-upgrade-command.ts'
import { dryRunOption, waitOption } from './order-options.ts'
import { awaitMoves, planLines, plannedFor, planView } from './rebalance-view.ts'
import { isHealthy } from './status.ts'
import { withStore } from './store-access.ts'
import { formatColumns } from './terminal.ts'

interface NewNodeOptions {
  readonly key?: string
  readonly region: string
  readonly group: number
  readonly engine: EngineKind
  readonly disk?: number
  readonly memory?: number
  readonly rebalance: boolean
  readonly dryRun?: boolean
  readonly wait?: boolean
}

/** Indexes of a node that are listed at most. */
const listedMax = 100

export function addNodeCommands(program: Command, run: RunCommand): void {
  const node = program
    .command('node')
    .summary('engine nodes, on which indexes live')
    .description('Nodes hold indexes. `up` starts its own; others run elsewhere and are added here.')
    .addHelpText(
      'after',
      '\nExamples:\n  $ flapjack node add search-1 http://10.0.0.7:7700 --key itsMasterKey --group 1\n  $ flapjack node list\n  $ flapjack node show search-1 --json',
    )

  node
    .command('add')
    .argument('<id>', 'what it is called, for ever')
    .argument('<url>', 'where it is, such as http://10.0.0.7:7700')
    .option('--key <key>', 'its master key')
    .option('--region <name>', 'where in the world it is', localRegion)
    .option('--group <number>', 'replica group, from 0', parseWhole, 0)
    .addOption(
      new Option('--engine <kind>', 'what it runs').choices(['embedded', 'meilisearch']).default('meilisearch'),
    )
    .option('--disk <bytes>', 'room on its disk', parseWhole)
    .option('--memory <bytes>', 'its memory', parseWhole)
    .option('--no-rebalance', 'new indexes use it; those that exist stay where they are')
    .option(...dryRunOption)
    .option(...waitOption)
    .description(
      'Adds a node that runs already. It takes the shards that it wins of the spread indexes, while they serve.',
    )
    .action((id: string, url: string, options: NewNodeOptions, command: Command) =>
      run(command, (context) => add(context, id, url, options)),
    )

  node
    .command('list')
    .description('Lists the nodes by replica group.')
    .action((_: object, command: Command) => run(command, listNodes))

  addLeavingCommands(node, run)
  addUpgradeCommand(node, run)

  node
    .command('show')
    .argument('<id>', 'its id')
    .description('Prints one node: its state, what it holds, and which of its indexes are behind.')
    .action((id: string, _: object, command: Command) => run(command, (context) => showNode(context, id)))
}

function parseWhole(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('a whole number is expected')
  return Number(text)
}

async function add(context: CommandContext, id: string, url: string, options: NewNodeOptions): Promise<void> {
  const { key = null, region, group, engine, disk = null, memory = null, rebalance, dryRun, wait } = options
  const { terminal } = context
  const capacity = disk === null && memory === null ? null : { diskBytes: disk, memoryBytes: memory }
  await withStore(context.programs, context.config, async (store) => {
    const { catalogue } = store
    const fresh: Node = { id, url, key, region, group, engine, capacity, state: 'active' }
    const taking = { ...layoutNode(fresh, true), takesExisting: rebalance }
    const plan = await plannedFor(store, (fleet) => ({ ...fleet, nodes: [...fleet.nodes, taking] }))
    if (dryRun === true)
      return terminal.answer({ id, ...planView(plan) }, [...planLines(plan), 'Nothing was done.'].join('\n'))
    const deps = { catalogue, clock: systemClock, signal: new AbortController().signal }
    const node = await addNode(
      { id, url, key, region, group, engine, capacity, ...(rebalance ? { takesExisting: true } : {}) },
      deps,
    ).catch(commandFailure)
    if (wait === true) await awaitMoves(store, terminal, ({ nodes }) => nodes.includes(id))
    const added = `Added ${node.id} to replica group ${node.group}.`
    const view = { ...nodeView(node), moves: plan.moves.length }
    terminal.answer(view, plan.moves.length === 0 ? added : [added, ...planLines(plan)].join('\n'))
  })
}

async function listNodes({ config, terminal, programs }: CommandContext): Promise<void> {
  await withStore(programs, config, async ({ catalogue, laneJournal, fleet }) => {
    const snapshot = await catalogue.snapshot()
    const troubles = await laneJournal.troubles()
    const [machines, loads] = await Promise.all([fleet.machines(), fleet.latest()])
    const byGroup = [...snapshot.nodes].sort((a, b) => a.group - b.group || (a.id < b.id ? -1 : 1))
    const nodes = await Promise.all(
      byGroup.map(async (node) => ({
        ...nodeView(node),
        isHealthy: await isHealthy(node.url),
        trouble: troubles.get(node.id) ?? null,
        replicas: replicasOf(snapshot, node.id).length,
        // Where a worker keeps the fleet.
        machine: machines.filter((machine) => machine.node === node.id).map(machineView)[0] ?? null,
        load: sampleView(loads.get(node.id)),
      })),
    )
    const rows = nodes.map(({ id, group, engine, state, isHealthy: answers, trouble, replicas, region, url }) => [
      ...[id, String(group), engine, state, healthText(answers, trouble), String(replicas), region, url],
    ])
    terminal.answer(
      nodes,
      formatColumns([['NODE', 'GROUP', 'ENGINE', 'STATE', 'HEALTH', 'REPLICAS', 'REGION', 'URL'], ...rows]),
    )
  })
}

async function showNode({ config, terminal, programs }: CommandContext, id: string): Promise<void> {
  await withStore(programs, config, async ({ catalogue, laneJournal, engineCredentials }) => {
    const snapshot = await catalogue.snapshot()
    const node = snapshot.nodes.find((candidate) => candidate.id === id)
    if (node === undefined) throw new CommandFailed('notFound', `no node \`${id}\`; \`flapjack node list\` shows all`)
    const trouble = (await laneJournal.troubles()).get(id) ?? null
    const replicas = replicasOf(snapshot, id)
    const behind = await behindOn(laneJournal, snapshot, id)
    const view = {
      ...nodeView(node),
      isHealthy: await isHealthy(node.url),
      trouble,
      replicas: replicas.length,
      /** Gateways use the node's own key, which may make no others. */
      hasOneKey: (await engineCredentials.ofNode(id)).some(({ generation }) => generation === 0),
      shards: replicas.reduce((sum, { shards }) => sum + shards.length, 0),
      filling: replicas.filter(({ state }) => state === 'filling').length,
      /** The longest waiting, at most 100. */
      behind,
    }
    terminal.answer(view, nodeLines(view))
  })
}

interface BehindView extends JsonObject {
  readonly project: string
  readonly index: string
  readonly shards: number
  readonly state: string
  readonly applied: number
  readonly head: number
  readonly lag: number
  readonly pendingBytes: number
}

/** Lanes of the node that have work. */
async function behindOn(
  laneJournal: Pick<LaneJournal, 'lanesBehind'>,
  snapshot: CatalogueSnapshot,
  id: string,
): Promise<readonly BehindView[]> {
  const lanes = await laneJournal.lanesBehind(id, listedMax)
  const indexes = new Map(snapshot.indexes.map((index) => [index.id, index]))
  const projects = new Map(snapshot.projects.map((project) => [project.id, project]))
  return lanes.map(({ placement, project, head, pendingBytes }) => ({
    project: projects.get(project)?.ref ?? project,
    // One that is being created, or deleted, has no name for reads.
    index: indexes.get(placement.index)?.uid ?? placement.index,
    shards: placement.shards.length,
    state: placement.state,
    applied: placement.applied,
    head,
    lag: head - placement.applied,
    pendingBytes,
  }))
}

function replicasOf({ placements }: CatalogueSnapshot, node: string): readonly Placement[] {
  return placements.filter((placement) => placement.node === node)
}

function nodeView({ id, url, engine, region, group, state, capacity }: Node) {
  return { id, url, engine, region, group, state, capacity: capacity === null ? null : { ...capacity } }
}

function healthText(answers: boolean, trouble: string | null): string {
  if (!answers) return 'away'
  return trouble === null ? 'good' : 'refuses writes'
}

function nodeLines(
  view: ReturnType<typeof nodeView> & {
    readonly isHealthy: boolean
    readonly trouble: string | null
    readonly replicas: number
    readonly hasOneKey: boolean
    readonly shards: number
    readonly filling: number
    readonly behind: readonly BehindView[]
  },
): string {
  const { id, url, engine, region, group, state, capacity, trouble, replicas, shards, filling, behind } = view
  const room = (bytes: number | null | undefined) => (bytes == null ? 'unknown' : `${(bytes / 1e9).toFixed(1)} GB`)
  const lines = [
    `Node      ${id} (${state}, ${healthText(view.isHealthy, trouble)})`,
    `Address   ${url}`,
    `Engine    ${engine}`,
    `Region    ${region}`,
    `Group     ${group}`,
    `Capacity  ${room(capacity?.diskBytes)} disk, ${room(capacity?.memoryBytes)} memory`,
    `Replicas  ${replicas}, with ${shards} shards${filling === 0 ? '' : `, ${filling} of them being filled`}`,
    ...(view.hasOneKey ? ['Key       one for everything: it may make no others for gateways'] : []),
    ...(trouble === null ? [] : [`Trouble   ${trouble}`]),
  ]
  if (behind.length === 0) return lines.join('\n')
  const rows = behind.map(({ project, index, applied, head, lag, state: standing }) => [
    ...[project, index, standing, String(applied), String(head), String(lag)],
  ])
  return [...lines, '', formatColumns([['PROJECT', 'INDEX', 'STATE', 'APPLIED', 'HEAD', 'LAG'], ...rows])].join('\n')
}
