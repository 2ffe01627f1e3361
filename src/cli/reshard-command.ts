/** `flapjack index reshard`: an index gets another number of shards while it is read and written. */
import { type Command, Option } from 'commander'
import { systemClock } from '../lib/clock.ts'
import { systemRandom } from '../lib/random.ts'
import { openReshard, planReshard, type ReshardPlan, spreadWith } from '../orchestrator/reshard/open-reshard.ts'
import type { Spread } from '../store/catalogue.ts'
import { moveView } from '../store/moves.ts'
import { chosenProject, type ProjectOption, projectOption } from './chosen-project.ts'
import type { CommandContext, RunCommand } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { rangesText } from './index-view.ts'
import { allowed, follow, moveLines } from './move-command.ts'
import { dryRunOption, keepOption, rateOption } from './order-options.ts'
import { withStore } from './store-access.ts'

interface ReshardOptions extends ProjectOption {
  /** Their values are read as fields of the configuration. */
  readonly shards?: string
  readonly rf?: string
  readonly plain?: boolean
  readonly keep: number
  readonly rate?: number
  readonly wait?: boolean
  readonly dryRun?: boolean
}

export function addIndexReshard(index: Command, run: RunCommand): void {
  index
    .command('reshard')
    .argument('<uid>', 'its name')
    .option('--shards <number>', 'how many it is to have')
    .option('--rf <number>', 'copies of each shard in a replica group; as before when left out')
    .addOption(new Option('--plain', 'whole on one node instead').conflicts(['shards', 'rf']))
    .option(...keepOption)
    .option(...rateOption('copied'))
    .option('--wait', 'until the new shards serve, with progress')
    .option(...dryRunOption)
    .option(...projectOption)
    .description(
      'Gives an index another number of shards while it is read and written. `flapjack move` follows, pauses, cancels and undoes it.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  $ flapjack index reshard products --shards 32 --dry-run\n  $ flapjack index reshard products --shards 32 --wait\n  $ flapjack move undo products',
    )
    .action((uid: string, options: ReshardOptions, command: Command) =>
      run(command, (context) => reshard(context, uid, options)),
    )
}

async function reshard(context: CommandContext, uid: string, options: ReshardOptions): Promise<void> {
  const { terminal, config } = context
  const { shards, plain, keep, rate = null } = options
  if (shards === undefined && plain !== true)
    throw new CommandFailed('usage', 'say how the index is to lie: `--shards N` or `--plain`')
  await withStore(context.programs, config, async (store) => {
    const project = await chosenProject(store.catalogue, options)
    const { indexes } = await store.catalogue.snapshot()
    const index = indexes.find((one) => one.project === project.id && one.uid === uid)
    if (index === undefined) {
      throw new CommandFailed(
        'notFound',
        `project \`${project.name}\` has no index \`${uid}\`; \`flapjack index list\``,
      )
    }
    const keepsPayloads = config.store.payloadRetentionMs === null
    const deps = { ...store, keepsPayloads, clock: systemClock, random: systemRandom }
    const spread = spreadOf(index.spread, options, context)
    const order = { index, spread, options: { keepMs: keep, bytesPerSecond: rate } }
    if (options.dryRun === true) {
      const plan = allowed(await planReshard(deps, order))
      const places = plan.places.map((place) => ({ node: place.node, shards: [...place.shards] }))
      return terminal.answer({ ...plan, places }, planLines(plan))
    }
    const move = allowed(await openReshard(deps, order))
    if (options.wait !== true) {
      return terminal.answer(moveView(move), `Reshard ${move.id} of ${uid} begins; \`flapjack move show ${uid}\`.`)
    }
    const served = await follow(context, store, move)
    terminal.answer(moveView(served), await moveLines(store, served))
    if (served.step === 'failed') throw new CommandFailed('failed', served.failure ?? 'the reshard failed')
  })
}

function spreadOf(own: Spread | null, { rf, plain }: ReshardOptions, { config }: CommandContext): Spread | null {
  const { shards, replicationFactor, exactTies } = config.cluster
  if (plain === true || shards === null) return null
  const wanted = { shards, ...(rf === undefined ? {} : { replicationFactor }) }
  return spreadWith(own, { replicationFactor, exactTies }, wanted)
}

function planLines({
  index,
  before,
  after,
  copy,
  places,
  replicas,
  changes,
  payloadBytes,
  keepMs,
}: ReshardPlan): string {
  const named = (count: number | null) => (count === null ? 'plain' : `${count} shards`)
  const how =
    copy === 'streamed'
      ? 'Documents are copied from the replicas that serve now.'
      : 'The new replicas are built from the journal of the index.'
  return [
    `${index} would go from ${named(before)} to ${named(after)}.`,
    ...places.map(({ node, shards }) => `  ${node}  shards ${rangesText(shards)}`),
    `${how} There are ${changes} changes, ${(payloadBytes / 1e6).toFixed(1)} MB of payloads.`,
    `${replicas} replicas serve now and stay until ${Math.round(keepMs / 1000)} s behind the switch: twice the storage until then.`,
    'Nothing was done.',
  ].join('\n')
}
