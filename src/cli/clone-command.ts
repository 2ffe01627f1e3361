/** `flapjack index clone`: a new index of what another one holds, here or in another project. */
import { type Command, Option } from 'commander'
import { isIndexUid, wrongIndexUid } from '../api/index-uid.ts'
import { createHttpEngine, type HttpEngine } from '../engine/http-engine.ts'
import { systemClock } from '../lib/clock.ts'
import { systemRandom } from '../lib/random.ts'
import { cloneIndex } from '../orchestrator/index-clone.ts'
import { WorkFailure } from '../orchestrator/work-failure.ts'
import type { Node, Spread } from '../store/catalogue.ts'
import { buildRouteTable } from '../topology/route-table.ts'
import { chosenProject, type ProjectOption, projectOption } from './chosen-project.ts'
import type { CommandContext, RunCommand } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { withStore } from './store-access.ts'

interface CloneOptions extends ProjectOption {
  readonly toProject?: string
  /** Its value is read as a field of the configuration. */
  readonly shards?: string
  readonly plain?: boolean
}

export function addIndexClone(index: Command, run: RunCommand): void {
  index
    .command('clone')
    .argument('<uid>', 'the index that is read')
    .argument('<new-uid>', 'name of the new one')
    .option('--to-project <project>', 'where the new one goes; the same project when left out')
    .option('--shards <number>', 'shards of the new one; it lies as the old one when left out')
    .addOption(new Option('--plain', 'the new one is whole on one node').conflicts('shards'))
    .option(...projectOption)
    .description(
      'Makes a new index of what another holds at one moment, settings included. It fills while the command runs; its tasks show it.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  $ flapjack index clone products products_test\n  $ flapjack index clone products products --project shop --to-project staging',
    )
    .action((uid: string, newUid: string, options: CloneOptions, command: Command) =>
      run(command, (context) => cloneInto(context, uid, newUid, options)),
    )
}

async function cloneInto(context: CommandContext, uid: string, newUid: string, options: CloneOptions): Promise<void> {
  const { terminal, config, programs } = context
  if (!isIndexUid(newUid)) throw new CommandFailed('usage', wrongIndexUid(newUid))
  const engines: HttpEngine[] = []
  const engineOf = ({ url, key }: Node) => {
    const engine = createHttpEngine({ url, key })
    engines.push(engine)
    return engine
  }
  await withStore(programs, config, async ({ catalogue, journal, laneJournal, replicas }) => {
    const project = await chosenProject(catalogue, options)
    const { toProject } = options
    const home = toProject === undefined ? project : await chosenProject(catalogue, { project: toProject })
    const table = buildRouteTable(await catalogue.snapshot())
    const source = table.index(project.id, uid)
    if (source === undefined)
      throw new CommandFailed(
        'notFound',
        `project \`${project.name}\` has no index \`${uid}\`; \`flapjack index list\``,
      )
    if (table.index(home.id, newUid) !== undefined)
      throw new CommandFailed('failed', `project \`${home.name}\` has an index \`${newUid}\` already`)
    const deps = { journal, lanes: laneJournal, replicas, table, engineOf, clock: systemClock }
    const id = systemRandom.uuid()
    const target = { id, project: home.id, uid: newUid, spread: spreadOf(source.index.spread, options, context) }
    const told = (documents: number) => terminal.remark(`${documents} documents`)
    try {
      const clone = await cloneIndex(deps, source, target, new AbortController().signal, told)
      const { position, documents, changes } = clone
      const behind = changes === 0 ? '' : `, and ${changes} changes that came meanwhile`
      const text = `${newUid} holds what ${uid} held at position ${position} of its journal: ${documents} documents${behind}.`
      terminal.answer({ uid: newUid, project: home.ref, ...clone }, text)
    } catch (error) {
      if (error instanceof WorkFailure) throw new CommandFailed('failed', error.message, { cause: error })
      throw error
    } finally {
      await Promise.all(engines.map((engine) => engine.close()))
    }
  })
}

function spreadOf(own: Spread | null, { shards, plain }: CloneOptions, { config }: CommandContext): Spread | null {
  if (plain === true) return null
  const count = config.cluster.shards
  if (shards === undefined || count === null) return own
  const { replicationFactor, exactTies } = own ?? config.cluster
  return { shards: count, replicationFactor, exactTies }
}
