/** `flapjack node drain`, `undrain`, `remove` and `replace`: nodes that leave while what they hold is read and written. */
import type { Command } from 'commander'
import { ApiError } from '../api/errors.ts'
import { addNode } from '../control/node-registration.ts'
import { systemClock } from '../lib/clock.ts'
import { layoutNode } from '../orchestrator/reconciler/layout-fleet.ts'
import type { Node, NodeId } from '../store/catalogue.ts'
import type { Fleet } from '../topology/rebalance-plan.ts'
import type { CommandContext, RunCommand } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { dryRunOption, waitOption } from './order-options.ts'
import { awaitMoves, type FleetStore, planLines, plannedFor, planView } from './rebalance-view.ts'
import { withStore } from './store-access.ts'

interface WaitOptions {
  readonly dryRun?: boolean
  readonly wait?: boolean
}

export function addLeavingCommands(node: Command, run: RunCommand): void {
  node
    .command('drain')
    .argument('<id>', 'its id')
    .option(...dryRunOption)
    .option(...waitOption)
    .description('Takes no new indexes, and moves what it holds elsewhere while that serves.')
    .action((id: string, options: WaitOptions, command: Command) =>
      run(command, (context) => drain(context, id, options)),
    )

  node
    .command('undrain')
    .argument('<id>', 'its id')
    .description('Takes indexes again. What has left stays where it is.')
    .action((id: string, _: object, command: Command) => run(command, (context) => undrain(context, id)))

  node
    .command('remove')
    .argument('<id>', 'its id; it is not used again')
    .option('--force', 'forgets the node and what it holds, even where nobody else holds it')
    .option(...dryRunOption)
    .option('--wait', 'drains it first, and removes it when it is empty')
    .description('Forgets a node that holds nothing any more.')
    .action((id: string, options: WaitOptions & { force?: boolean }, command: Command) =>
      run(command, (context) => remove(context, id, options)),
    )

  node
    .command('replace')
    .argument('<id>', 'the node that leaves')
    .argument('<new-id>', 'what the new one is called')
    .argument('<url>', 'where the new one is')
    .option('--key <key>', 'its master key')
    .option(...dryRunOption)
    .option(...waitOption)
    .description('Adds a node that takes exactly what another one holds, and drains that one.')
    .action((id: string, newId: string, url: string, options: WaitOptions & { key?: string }, command: Command) =>
      run(command, (context) => replace(context, { id, newId, url }, options)),
    )
}

export async function nodeOf({ catalogue }: Pick<FleetStore, 'catalogue'>, id: NodeId): Promise<Node> {
  const node = (await catalogue.nodes()).find((candidate) => candidate.id === id)
  if (node === undefined) throw new CommandFailed('notFound', `no node \`${id}\`; \`flapjack node list\` shows all`)
  return node
}

/** The fleet with these nodes draining. */
export function draining(ids: ReadonlySet<NodeId>): (fleet: Fleet) => Fleet {
  return (fleet) => ({
    ...fleet,
    nodes: fleet.nodes.map((node) => (ids.has(node.id) ? { ...node, state: 'draining' } : node)),
  })
}

export async function drainAll(store: FleetStore, ids: Iterable<NodeId>): Promise<void> {
  for (const id of ids) await store.catalogue.setNodeState(id, 'draining')
}

async function drain(context: CommandContext, id: string, options: WaitOptions): Promise<void> {
  const { terminal } = context
  await withStore(context.programs, context.config, async (store) => {
    const node = await nodeOf(store, id)
    if (node.state === 'lost') throw new CommandFailed('failed', `node \`${id}\` is lost`)
    const plan = await plannedFor(store, draining(new Set([id])))
    const before = (await store.replicas.loads()).get(id) ?? 0
    const view = { id, state: options.dryRun === true ? node.state : 'draining', replicas: before, ...planView(plan) }
    if (options.dryRun === true) return terminal.answer(view, [...planLines(plan), 'Nothing was done.'].join('\n'))
    await drainAll(store, [id])
    if (options.wait !== true) {
      const next = `${id} drains: ${before} replicas leave it. \`flapjack move list --open\` shows them.`
      return terminal.answer(view, [next, ...planLines(plan)].join('\n'))
    }
    const { stuck } = await awaitMoves(store, terminal, ({ nodes }) => nodes.includes(id))
    const left = (await store.replicas.loads()).get(id) ?? 0
    const stays = stuck.filter((one) => one.node === id)
    terminal.answer({ ...view, replicas: left }, `${id} holds ${left} replicas.`)
    if (stays[0] !== undefined) throw new CommandFailed('failed', `${stays[0].layout.uid} stays: ${stays[0].reason}`)
  })
}

async function undrain(context: CommandContext, id: string): Promise<void> {
  await withStore(context.programs, context.config, async (store) => {
    await nodeOf(store, id)
    await store.catalogue.setNodeState(id, 'active')
    context.terminal.answer({ id, state: 'active' }, `${id} takes indexes again.`)
  })
}

const emptyPollMs = 500

async function remove(
  context: CommandContext,
  id: string,
  { force = false, dryRun, wait }: WaitOptions & { force?: boolean },
): Promise<void> {
  const { terminal } = context
  await withStore(context.programs, context.config, async (store) => {
    await nodeOf(store, id)
    const plan = await plannedFor(store, draining(new Set([id])))
    if (dryRun === true) {
      return terminal.answer({ id, ...planView(plan) }, [...planLines(plan), 'Nothing was done.'].join('\n'))
    }
    if (wait === true && !force) {
      await drainAll(store, [id])
      const { stuck } = await awaitMoves(store, terminal, ({ nodes }) => nodes.includes(id))
      const stays = stuck.find((one) => one.node === id)
      if (stays !== undefined) throw new CommandFailed('failed', `${stays.layout.uid} stays: ${stays.reason}`)
    }
    for (;;) {
      const outcome = await store.catalogue.removeNode(id, force)
      if (outcome === 'removed') return terminal.answer({ id, removed: true }, `${id} is removed.`)
      if (outcome === 'unknown') throw new CommandFailed('notFound', `no node \`${id}\``)
      if (wait !== true)
        throw new CommandFailed('failed', `\`${id}\` holds indexes: \`flapjack node drain ${id}\` first, or --wait`)
      // What was moved is kept for a while behind its switch.
      await systemClock.sleep(emptyPollMs)
    }
  })
}

async function replace(
  context: CommandContext,
  { id, newId, url }: { readonly id: string; readonly newId: string; readonly url: string },
  { key = undefined, dryRun, wait }: WaitOptions & { key?: string },
): Promise<void> {
  const { terminal } = context
  await withStore(context.programs, context.config, async (store) => {
    const old = await nodeOf(store, id)
    const seat = old.seat ?? old.id
    const fresh = {
      ...old,
      id: newId,
      url,
      key: key ?? null,
      seat,
      state: 'active' as const,
      takesExisting: true as const,
    }
    const plan = await plannedFor(store, (fleet) => {
      const after = draining(new Set([id]))(fleet)
      return { ...after, nodes: [...after.nodes.filter((node) => node.id !== newId), layoutNode(fresh, true)] }
    })
    const view = { id, newId, ...planView(plan) }
    if (dryRun === true) return terminal.answer(view, [...planLines(plan), 'Nothing was done.'].join('\n'))
    const { region, group, engine, capacity } = old
    const deps = { catalogue: store.catalogue, clock: systemClock, signal: new AbortController().signal }
    await addNode(
      { id: newId, url, key: key ?? null, region, group, engine, capacity, seat, takesExisting: true },
      deps,
    ).catch(commandFailure)
    await drainAll(store, [id])
    if (wait === true) await awaitMoves(store, terminal, ({ nodes }) => nodes.includes(id) || nodes.includes(newId))
    const end = wait === true ? `${newId} has taken the place of ${id}` : `${newId} takes the place of ${id}`
    terminal.answer(view, `${end}; \`flapjack node remove ${id}\` when it is empty.`)
  })
}

/** @throws CommandFailed for what the API would refuse. */
export function commandFailure(error: unknown): never {
  throw error instanceof ApiError ? new CommandFailed('failed', error.message) : error
}
