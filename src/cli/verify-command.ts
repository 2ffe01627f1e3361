/** `flapjack verify`: whether the replicas of an index hold the same. */
import type { Command } from 'commander'
import { createHttpEngine, type HttpEngine } from '../engine/http-engine.ts'
import { systemClock } from '../lib/clock.ts'
import { type VerifiedPair, verifyReplicas } from '../orchestrator/moves/verification.ts'
import type { Node } from '../store/catalogue.ts'
import { replicaId } from '../topology/replica-id.ts'
import { chosenProject, type ProjectOption, projectOption } from './chosen-project.ts'
import type { CommandContext, RunCommand } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { rangesText } from './index-view.ts'
import { withStore } from './store-access.ts'

interface VerifyOptions extends ProjectOption {
  readonly rebuild?: string
}

export function addVerifyCommand(program: Command, run: RunCommand): Command {
  return program
    .command('verify')
    .argument('<index>', 'its name')
    .option('--rebuild <node>', 'then builds the replica on this node anew from the journal, while others serve')
    .option(...projectOption)
    .description('Compares settings and every document of all replicas of an index, while it is read and written.')
    .action((uid: string, options: VerifyOptions, command: Command) =>
      run(command, (context) => verify(context, uid, options)),
    )
}

async function verify(context: CommandContext, uid: string, options: VerifyOptions): Promise<void> {
  const { terminal, config } = context
  const engines: HttpEngine[] = []
  const engineOf = ({ url, key }: Node) => {
    const engine = createHttpEngine({ url, key })
    engines.push(engine)
    return engine
  }
  await withStore(context.programs, config, async ({ catalogue, replicas }) => {
    const project = await chosenProject(catalogue, options)
    const { indexes } = await catalogue.snapshot()
    const index = indexes.find((one) => one.project === project.id && one.uid === uid)
    const standing = index && (await replicas.standing(index.id))
    if (standing === undefined) {
      throw new CommandFailed(
        'notFound',
        `project \`${project.name}\` has no index \`${uid}\`; \`flapjack index list\``,
      )
    }
    const deps = { replicas, catalogue, engineOf, clock: systemClock }
    const pairs = await verifyReplicas(deps, standing, new AbortController().signal, (pair) =>
      terminal.remark(pairLine(pair)),
    ).finally(() => Promise.all(engines.map((engine) => engine.close())))
    const differs = pairs.some(({ differing, settingsDiffer }) => differing.length > 0 || settingsDiffer)
    if (options.rebuild !== undefined) {
      if (config.store.payloadRetentionMs !== null) {
        throw new CommandFailed(
          'failed',
          'payloads are dropped after a time here, so that nothing can be built anew from the journal',
        )
      }
      const { rebuild } = options
      const held = standing.replicas.filter(({ node }) => node === rebuild)
      if (held.length === 0) throw new CommandFailed('notFound', `\`${rebuild}\` holds no replica of \`${uid}\``)
      for (const replica of held) {
        const outcome = await replicas.changeReplica(standing.index, replicaId(replica), { kind: 'rebuild' })
        if (outcome === 'needed') throw new CommandFailed('failed', `no other replica serves what \`${rebuild}\` holds`)
        if (outcome !== 'done') throw new CommandFailed('failed', `the replica on \`${rebuild}\` is ${replica.state}`)
      }
    }
    const text =
      options.rebuild === undefined
        ? ''
        : ` The replica on ${options.rebuild} is built anew; \`flapjack index show ${uid}\``
    const summary =
      pairs.length === 0
        ? 'There is one replica: nothing to compare it with.'
        : differs
          ? 'Replicas differ.'
          : 'All replicas hold the same.'
    const view = pairs.map((pair) => ({ ...pair, shards: [...pair.shards], differing: [...pair.differing] }))
    terminal.answer({ index: uid, differs, pairs: view, rebuilding: options.rebuild ?? null }, `${summary}${text}`)
    if (differs && options.rebuild === undefined) {
      throw new CommandFailed('failed', 'replicas differ; `--rebuild NODE` builds one of them anew')
    }
  })
}

function pairLine({ reference, node, shards, documents, differing, settingsDiffer, unsettled }: VerifiedPair): string {
  const parts = [
    `${documents} documents`,
    differing.length === 0 ? 'none differs' : `${differing.length} differ: ${differing.slice(0, 10).join(', ')}`,
    ...(settingsDiffer ? ['settings differ'] : []),
    ...(unsettled === 0 ? [] : [`${unsettled} were written at every look`]),
  ]
  return `${reference} and ${node}, shards ${rangesText(shards)}: ${parts.join('; ')}`
}
