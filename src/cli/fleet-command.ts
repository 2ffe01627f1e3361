/** `flapjack fleet …` and what `flapjack node` knows of machines: how nodes are, what became of them, and what is wanted. */
import { type Command, InvalidArgumentError } from 'commander'
import type { Store } from '../journal/open-store.ts'
import { systemClock } from '../lib/clock.ts'
import type { JsonObject } from '../lib/json.ts'
import { nextNodeId, openDrivers } from '../orchestrator/fleet/drivers.ts'
import { usageOf } from '../orchestrator/scaling/scaling.ts'
import type { Fleet, Machine, MachineWish, NodeEvent } from '../store/fleet.ts'
import type { CommandContext, RunCommand } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { machineView, percentText, sampleView, sizeText } from './machine-view.ts'
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
    .command('replace')
    .argument('<id>', 'its id')
    .option('--wait', 'until it is well again')
    .description(
      'Gives a node a new machine with an empty disk, which its lanes fill from the journal. Refused where the disk holds what nothing else does.',
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

async function showFleet({ config, terminal, programs }: CommandContext): Promise<void> {
  await withStore(programs, config, async ({ fleet, replicas }) => {
    const [keeper, machines, latest, loads, events] = await Promise.all([
      fleet.keeper(),
      fleet.machines(),
      fleet.latest(),
      replicas.loads(),
      fleet.events(null, 200),
    ])
    const nodes = machines
      .filter(({ life }) => life !== 'released')
      .map((machine) => {
        const sample = latest.get(machine.node)
        const usage = sample && usageOf(sample, config.fleet.scaling)
        return {
          ...machineView(machine),
          replicas: loads.get(machine.node) ?? 0,
          load: sampleView(sample),
          usage: usage === undefined ? null : { ...usage },
        }
      })
    const proposals = events.filter(({ kind }) => kind === 'proposal').map(eventView)
    const isKept = keeper?.isLeading === true
    const view = {
      mode: isKept ? keeper.mode : 'off',
      keeper: isKept ? keeper.worker : null,
      halted: keeper?.halted ?? null,
      scaledAt: keeper?.scaledAt == null ? null : new Date(keeper.scaledAt).toISOString(),
      nodes,
      proposals,
    }
    const rows = nodes.map(({ id, driver, life, health, replicas: held, load, usage }) => [
      ...[id, driver, life === 'active' ? health : life, String(held), percentText(load?.cpuPercent)],
      ...[sizeText(load?.memoryBytes), sizeText(load?.dataBytes), sizeText(load?.diskBytesFree)],
      usage === null ? '' : `${Math.round(usage.ratio * 100)} %`,
    ])
    const lines = [
      isKept ? `Kept by   ${keeper.worker} (${keeper.mode})` : notKeptText,
      ...(view.halted === null ? [] : [`Brake     ${view.halted}; \`flapjack fleet release\` lets it go on`]),
      '',
      formatColumns([
        ['NODE', 'DRIVER', 'STATE', 'REPLICAS', 'CPU', 'MEMORY', 'DATA', 'DISK FREE', 'OF LIMITS'],
        ...rows,
      ]),
      ...proposals.map(({ at, node, text }) => `\n${at}  ${node ?? 'fleet'}  proposed: ${text}`),
    ]
    terminal.answer(view, lines.join('\n'))
  })
}

const notKeptText =
  'Kept by   nobody: set `fleet.mode` to `watch` or `act` in the configuration of a worker (FLAPJACK_FLEET_MODE)'

async function showEvents({ config, terminal, programs }: CommandContext, node: string | null, limit: number) {
  await withStore(programs, config, async ({ fleet, catalogue }) => {
    const events = await fleet.events(node, Math.max(1, limit))
    if (node !== null && events.length === 0 && !(await isKnown(node, { fleet, catalogue }))) throw unknownNode(node)
    const rows = events.map((event) => {
      const { at, node: of, kind, text } = eventView(event)
      return [at, of ?? 'fleet', kind, text]
    })
    terminal.answer(events.map(eventView), formatColumns([['TIME', 'NODE', 'WHAT', 'TEXT'], ...rows]))
  })
}

async function isKnown(node: string, { fleet, catalogue }: Pick<Store, 'fleet' | 'catalogue'>): Promise<boolean> {
  const nodes = await catalogue.nodes()
  return nodes.some(({ id }) => id === node) || (await fleet.machines()).some((machine) => machine.node === node)
}

function unknownNode(id: string): CommandFailed {
  return new CommandFailed('notFound', `no node \`${id}\`; \`flapjack node list\` shows all`)
}

async function requireKeeper(fleet: Fleet): Promise<void> {
  const keeper = await fleet.keeper()
  if (keeper?.isLeading === true) return
  throw new CommandFailed(
    'failed',
    'nobody keeps the fleet; set `fleet.mode` to `watch` or `act` in the configuration of a worker (FLAPJACK_FLEET_MODE), and start it again',
  )
}

async function wishFor(context: CommandContext, id: string, wish: MachineWish, options: WaitOptions): Promise<void> {
  const { config, terminal, programs } = context
  await withStore(programs, config, async ({ fleet, catalogue }) => {
    await requireKeeper(fleet)
    const before = (await fleet.machines()).find(({ node }) => node === id)
    if (before === undefined && !(await isKnown(id, { fleet, catalogue }))) throw unknownNode(id)
    if (before === undefined || before.life === 'released') {
      throw new CommandFailed(
        'failed',
        `the machine of \`${id}\` is not known yet; \`flapjack fleet status\` shows those that are`,
      )
    }
    if (wish === 'drain' && before.driver === 'static') {
      throw new CommandFailed(
        'failed',
        `somebody else runs \`${id}\`: empty it with \`flapjack node drain ${id}\`, and end it there`,
      )
    }
    const at = systemClock.now()
    await fleet.wish(id, wish, { node: id, at, kind: 'wish', text: `an operator wants: ${wish}` })
    if (options.wait === true) await waitFor(fleet, id, wish, before, at)
    const done =
      wish === 'drain' ? 'is emptied and then given back' : `gets a ${wish === 'restart' ? 'restart' : 'new machine'}`
    const text = options.wait === true ? `${id}: done.` : `${id} ${done}; \`flapjack node events ${id}\` tells of it.`
    terminal.answer({ id, wish, isDone: options.wait === true }, text)
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

async function addMachine({ config, terminal, programs }: CommandContext, options: WaitOptions & { group: number }) {
  const { driver, region } = config.fleet
  if (driver === null) {
    throw new CommandFailed(
      'usage',
      'no driver makes nodes: name one with `fleet.driver`, or add one that runs with `flapjack node add`',
    )
  }
  await withStore(programs, config, async ({ fleet, catalogue }) => {
    await requireKeeper(fleet)
    const taken = [
      ...(await fleet.machines()).map(({ node }) => node),
      ...(await catalogue.nodes()).map(({ id }) => id),
    ]
    const now = systemClock.now()
    const machine: Machine = {
      ...{ node: nextNodeId(driver, config.engine.kind, taken), driver, life: 'requested', engine: config.engine.kind },
      ...{ region, group: options.group, generation: 1, health: 'starting', healthSince: now },
      ...{ record: { lifeSince: now }, wish: null, createdAt: now },
    }
    const event = { node: machine.node, at: now, kind: 'wish', text: 'an operator wants one node more' }
    if (!(await fleet.request(machine, event)))
      throw new CommandFailed('failed', 'another node was asked for at the same time; try again')
    if (options.wait === true) await waitUntilActive(fleet, machine.node)
    const text =
      options.wait === true
        ? `${machine.node} is a node.`
        : `${machine.node} is asked for; \`flapjack node events ${machine.node}\` tells of it.`
    terminal.answer({ id: machine.node, isNode: options.wait === true }, text)
  })
}

async function waitUntilActive(fleet: Fleet, id: string): Promise<void> {
  for (const ends = systemClock.monotonic() + waitMsMax; systemClock.monotonic() < ends; ) {
    const machine = (await fleet.machines()).find(({ node }) => node === id)
    if (machine?.life === 'active') return
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

async function release({ config, terminal, programs }: CommandContext): Promise<void> {
  await withStore(programs, config, async ({ fleet }) => {
    const halted = (await fleet.keeper())?.halted ?? null
    if (halted === null) return terminal.answer({ released: null }, 'The brake is not on.')
    await fleet.release({
      node: null,
      at: systemClock.now(),
      kind: 'wish',
      text: `an operator released the brake (${halted})`,
    })
    terminal.answer({ released: halted }, `Released: ${halted}.`)
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
    const { maker, of } = openDrivers(parts)
    const driver = maker ?? of('static')
    if (config.fleet.driver === 'local' || driver === undefined) {
      return terminal.answer(
        { driver: 'local', findings: [], strays: [] },
        'The driver `local` needs nothing but `flapjack up`.',
      )
    }
    const signal = AbortSignal.timeout(60_000)
    const findings = await driver.check(signal)
    const known = new Set((await fleet.machines()).flatMap(({ node, life }) => (life === 'released' ? [] : [node])))
    const strays = driver.kind === 'static' ? [] : (await driver.list(signal)).filter(({ node }) => !known.has(node))
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

function eventView({
  node,
  at,
  kind,
  text,
}: NodeEvent): JsonObject & { node: string | null; at: string; kind: string; text: string } {
  return { node, at: new Date(at).toISOString(), kind, text }
}
