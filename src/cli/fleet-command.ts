/** `flapjack fleet …` and what `flapjack node` knows of machines: how nodes are, what became of them, and what is wanted. */
import { type Command, InvalidArgumentError } from 'commander'
import { ApiError } from '../api/errors.ts'
import { createFleetOrders } from '../control/fleet-orders.ts'
import type { Store } from '../journal/open-store.ts'
import { systemClock } from '../lib/clock.ts'
import { DriverFailed } from '../orchestrator/drivers/node-driver.ts'
import type { Fleet, Machine, MachineWish } from '../store/fleet.ts'
import type { CommandContext, RunCommand } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { withStore } from './store-access.ts'
import { formatColumns } from './terminal.ts'

const eventsShown = 50
const waitMsMax = 600_000
const pollMs = 500

interface WaitOptions {
  readonly wait?: boolean
}

export function addFleetCommands(program: Command, run: RunCommand): void {
  const fleet = program
    .command('fleet')
    .summary('the machines behind nodes')
    .description(
      'Shows how nodes are and what is done about it, and asks for machines. A worker keeps the fleet where `fleet.mode` is `watch` or `act`.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  $ flapjack fleet status\n  $ flapjack fleet events --node n2\n  $ flapjack fleet add\n  $ flapjack fleet release',
    )

  fleet
    .command('status')
    .description('Prints who keeps the fleet, how each node is and what it carries, and what is proposed.')
    .action((_: object, command: Command) => run(command, showFleet))
  fleet
    .command('events')
    .option('--node <id>', 'of one node')
    .option('--limit <number>', 'how many', parseWhole, eventsShown)
    .description('Lists what happened, newest first.')
    .action((options: { node?: string; limit: number }, command: Command) =>
      run(command, (context) => showEvents(context, options.node ?? null, options.limit)),
    )
  fleet
    .command('add')
    .option('--group <number>', 'replica group, from 0', parseWhole, 0)
    .option('--wait', 'until it is a node')
    .description('Asks the driver for one more node.')
    .action((options: WaitOptions & { group: number }, command: Command) =>
      run(command, (context) => addMachine(context, options)),
    )
  fleet
    .command('remove')
    .argument('<id>', 'its id')
    .option('--wait', 'until its machine is gone')
    .description('Empties a node that a driver made, and gives its machine back.')
    .action((id: string, options: WaitOptions, command: Command) =>
      run(command, (context) => wishFor(context, id, 'drain', options)),
    )
  fleet
    .command('keep')
    .argument('<id>', 'its id')
    .description('Takes back that a node is given back, while it is being emptied.')
    .action((id: string, _: object, command: Command) => run(command, (context) => wishFor(context, id, 'keep', {})))
  fleet
    .command('replace')
    .argument('<id>', 'its id')
    .option('--wait', 'until it is well again')
    .description(
      'Gives a node a new machine with an empty disk, which its lanes fill from the journal. Refused where the disk holds what nothing else does, or what the journal cannot fill again.',
    )
    .action((id: string, options: WaitOptions, command: Command) =>
      run(command, (context) => wishFor(context, id, 'replace', options)),
    )
  fleet
    .command('release')
    .description('Lets the fleet be healed and scaled again after the brake was put on.')
    .action((_: object, command: Command) => run(command, release))
  fleet
    .command('check')
    .description("Asks the driver's provider whether everything is there, and lists machines that no node has.")
    .action((_: object, command: Command) => run(command, checkDriver))

  const node = program.commands.find((command) => command.name() === 'node')
  node
    ?.command('restart')
    .argument('<id>', 'its id')
    .option('--wait', 'until it is well again')
    .description('Ends its engine and starts it again, through its driver.')
    .action((id: string, options: WaitOptions, command: Command) =>
      run(command, (context) => wishFor(context, id, 'restart', options)),
    )
  node
    ?.command('events')
    .argument('<id>', 'its id')
    .option('--limit <number>', 'how many', parseWhole, eventsShown)
    .description('Lists what happened to it, newest first.')
    .action((id: string, options: { limit: number }, command: Command) =>
      run(command, (context) => showEvents(context, id, options.limit)),
    )
}

function parseWhole(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError('a whole number is expected')
  return Number(text)
}

const ordersOf = ({ config }: CommandContext, { fleet, catalogue, replicas }: Store) =>
  createFleetOrders({
    fleet,
    catalogue,
    replicas,
    config: config.fleet,
    engine: config.engine.kind,
    clock: systemClock,
  })

/** What an order refuses is no failure of ours. */
async function told<T>(order: Promise<T>): Promise<T> {
  return order.catch((error: unknown) => {
    if (!(error instanceof ApiError)) throw error
    throw new CommandFailed(error.body.code === 'miroir_not_found' ? 'notFound' : 'failed', error.message)
  })
}

async function showFleet(context: CommandContext): Promise<void> {
  const { config, terminal, programs } = context
  await withStore(programs, config, async (store) => {
    const status = await ordersOf(context, store).status()
    const { keeper, mode, halted, nodes, proposals } = status
    const rows = nodes.map(({ id, driver, life, health, replicas, load, usage }) => [
      ...[id, driver, life === 'active' ? health : life, String(replicas), percentText(load?.cpuPercent)],
      ...[sizeText(load?.memoryBytes), sizeText(load?.dataBytes), sizeText(load?.diskBytesFree)],
      usage === null ? '' : `${Math.round(usage.ratio * 100)} %`,
    ])
    const head = ['NODE', 'DRIVER', 'STATE', 'REPLICAS', 'CPU', 'MEMORY', 'DATA', 'DISK FREE', 'OF LIMITS']
    const lines = [
      keeper === null ? notKeptText : `Kept by   ${keeper} (${mode})`,
      ...(halted === null ? [] : [`Brake     ${halted}; \`flapjack fleet release\` lets it go on`]),
      '',
      formatColumns([head, ...rows]),
      ...proposals.map(({ at, node, text }) => `\n${at}  ${node ?? 'fleet'}  proposed: ${text}`),
    ]
    terminal.answer({ ...status, nodes: [...nodes], proposals: [...proposals] }, lines.join('\n'))
  })
}

const notKeptText =
  'Kept by   nobody: set `fleet.mode` to `watch` or `act` in the configuration of a worker (FLAPJACK_FLEET_MODE)'

async function showEvents(context: CommandContext, node: string | null, limit: number): Promise<void> {
  const { config, terminal, programs } = context
  await withStore(programs, config, async (store) => {
    const events = await told(ordersOf(context, store).events(node, Math.max(1, limit)))
    const rows = events.map(({ at, node: of, kind, text }) => [at, of ?? 'fleet', kind, text])
    terminal.answer([...events], formatColumns([['TIME', 'NODE', 'WHAT', 'TEXT'], ...rows]))
  })
}

const outcomes: Readonly<Record<MachineWish, string>> = {
  restart: 'is started again',
  replace: 'gets a new machine',
  drain: 'is emptied, and its machine is given back then',
  keep: 'stays',
}

async function wishFor(context: CommandContext, id: string, wish: MachineWish, options: WaitOptions): Promise<void> {
  const { config, terminal, programs } = context
  await withStore(programs, config, async (store) => {
    const at = systemClock.now()
    const before = await told(ordersOf(context, store).wish(id, wish))
    const isDone = options.wait === true
    if (isDone) await waitFor(store.fleet, id, wish, before, at)
    const text = isDone ? `${id}: done.` : `${id} ${outcomes[wish]}; \`flapjack node events ${id}\` tells of it.`
    terminal.answer({ id, wish, isDone }, text)
  })
}

/** Until what was wanted is so. */
async function waitFor(fleet: Fleet, id: string, wish: MachineWish, before: Machine, since: number): Promise<void> {
  for (const ends = systemClock.monotonic() + waitMsMax; systemClock.monotonic() < ends; ) {
    const machine = (await fleet.machines()).find(({ node }) => node === id)
    const happened = (await fleet.events(id, 20)).filter(({ at }) => at >= since)
    const refusal = happened.find(({ kind }) => kind === 'failure')
    if (refusal !== undefined) throw new CommandFailed('failed', `${id}: ${refusal.text}`)
    if (machine === undefined || machine.life === 'released') return
    const isBegun =
      wish === 'replace'
        ? machine.generation > before.generation
        : (machine.record.restarts?.at(-1) ?? 0) > (before.record.restarts?.at(-1) ?? 0)
    if (wish !== 'drain' && isBegun && machine.health === 'up' && machine.healthSince > before.healthSince) return
    await systemClock.sleep(pollMs)
  }
  throw new CommandFailed(
    'failed',
    `${id}: it takes longer than ${waitMsMax / 60_000} minutes; \`flapjack node events ${id}\` tells of it`,
  )
}

async function addMachine(context: CommandContext, options: WaitOptions & { group: number }): Promise<void> {
  const { config, terminal, programs } = context
  await withStore(programs, config, async (store) => {
    const id = await told(ordersOf(context, store).add(options.group))
    const isNode = options.wait === true
    if (isNode) await waitUntilActive(store.fleet, id, (text) => terminal.remark(text))
    const text = isNode ? `${id} is a node.` : `${id} is asked for; \`flapjack node events ${id}\` tells of it.`
    terminal.answer({ id, isNode }, text)
  })
}

async function waitUntilActive(fleet: Fleet, id: string, remark: (text: string) => void): Promise<void> {
  let told: string | undefined
  for (const ends = systemClock.monotonic() + waitMsMax; systemClock.monotonic() < ends; ) {
    const machine = (await fleet.machines()).find(({ node }) => node === id)
    if (machine?.life === 'active') return
    const failure = machine?.record.failure
    if (failure !== undefined && failure !== told) remark(`${failure}; it is tried again`)
    told = failure
    if (
      machine === undefined ||
      machine.life === 'failed' ||
      machine.life === 'releasing' ||
      machine.life === 'released'
    ) {
      const [last] = (await fleet.events(id, 20)).filter(({ kind }) => kind === 'failure' || kind === 'life')
      throw new CommandFailed('failed', `${id} did not become a node: ${last?.text ?? 'nothing is known'}`)
    }
    await systemClock.sleep(pollMs)
  }
  throw new CommandFailed('failed', `${id}: it takes longer than ${waitMsMax / 60_000} minutes`)
}

async function release(context: CommandContext): Promise<void> {
  const { config, terminal, programs } = context
  await withStore(programs, config, async (store) => {
    const released = await ordersOf(context, store).release()
    terminal.answer({ released }, released === null ? 'The brake is not on.' : `Released: ${released}.`)
  })
}

/** A provider that does not answer is no mistake of ours. */
async function reached<T>(asked: Promise<T>): Promise<T> {
  return asked.catch((error: unknown) => {
    throw error instanceof DriverFailed ? new CommandFailed('failed', error.message) : error
  })
}

async function checkDriver({ config, env, terminal, programs }: CommandContext): Promise<void> {
  await withStore(programs, config, async ({ catalogue, fleet }) => {
    const parts = {
      config: config.fleet,
      engine: config.engine.kind,
      nodes: () => catalogue.nodes(),
      local: undefined,
      env,
    }
    // Only who asks for it pays for loading it.
    const { openDrivers } = await import('../orchestrator/fleet/drivers.ts')
    const { maker, of } = openDrivers(parts)
    const driver = maker ?? of('static')
    if (config.fleet.driver === 'local' || driver === undefined) {
      return terminal.answer(
        { driver: 'local', findings: [], strays: [] },
        'The driver `local` needs nothing but `flapjack up`.',
      )
    }
    const signal = AbortSignal.timeout(60_000)
    const findings = await reached(driver.check(signal))
    const known = new Set((await fleet.machines()).flatMap(({ node, life }) => (life === 'released' ? [] : [node])))
    const strays =
      driver.kind === 'static' ? [] : (await reached(driver.list(signal))).filter(({ node }) => !known.has(node))
    const view = {
      driver: driver.kind,
      findings: findings.map((finding) => ({ ...finding })),
      strays: strays.map(({ node, state }) => ({ node, state })),
    }
    const lines = [
      ...findings.map(({ what, isGood, text }) => `${isGood ? 'good' : 'BAD '}  ${what}: ${text}`),
      ...strays.map(({ node, state }) => `BAD   machine of ${node} (${state}): no node has it; end it at the provider`),
    ]
    terminal.answer(view, lines.join('\n'))
    if (strays.length > 0 || findings.some(({ isGood }) => !isGood)) {
      throw new CommandFailed('failed', 'not everything is as it should be')
    }
  })
}

const percentText = (value: number | null | undefined) => (value == null ? '' : `${value.toFixed(0)} %`)

function sizeText(bytes: number | null | undefined): string {
  if (bytes == null) return ''
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${(bytes / 1e6).toFixed(0)} MB`
}
