/** `flapjack secrets …`: the key that seals secrets in the database is replaced without stopping anything (P-26). */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { loadSealingKey, parseSealingKey, replaceSealingKey } from '../lib/seal.ts'
import type { CommandContext, RunCommand } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { withStore } from './store-access.ts'

export function addSecretsCommands(program: Command, run: RunCommand): void {
  const secrets = program
    .command('secrets')
    .summary('the key that seals secrets in the database')
    .description(
      'Secrets stand in the database under data keys, and these under the sealing key: the file `sealing.key` in the data folder, or FLAPJACK_SEALING_KEY.',
    )

  secrets
    .command('rotate')
    .description(
      'Puts another sealing key in the place of the present one. Nothing stops. The old file stays as `sealing.key.<id>`: backups made before need it. Where the key is given by FLAPJACK_SEALING_KEY, set FLAPJACK_SEALING_KEY_NEXT first, for every process.',
    )
    .action((_: object, command: Command) => run(command, rotate))

  secrets
    .command('reseal')
    .description(
      'Replaces the data keys too, after `rotate` and when every process has the new sealing key: the first run makes data keys, the second, minutes later, seals every secret anew under them, the third, a day later, drops the older ones. Each says when to run the next.',
    )
    .action((_: object, command: Command) => run(command, reseal))

  secrets
    .command('rotate-engine-keys')
    .description(
      'Replaces the keys with which gateways reach the engines: within a minute, without a refusal. The ones before work until the next replacement; run it twice, two minutes apart, when they may be in wrong hands.',
    )
    .action((_: object, command: Command) => run(command, rotateEngineKeys))
}

async function rotate({ config, terminal, programs }: CommandContext): Promise<void> {
  const { sealingKey, sealingKeyCommand, sealingKeyNext } = config.store
  if (sealingKey !== null || sealingKeyCommand !== null) {
    if (sealingKeyNext === null) {
      throw new CommandFailed(
        'usage',
        'the sealing key is not in the data folder: give the key that follows in FLAPJACK_SEALING_KEY_NEXT',
      )
    }
    const next = parseSealingKey(sealingKeyNext.reveal())
    await withStore(programs, config, (store) => store.rotateSealingKey(next))
    const todo = 'From now on start processes with the new key.'
    terminal.answer({ sealingKey: next.id }, `The sealing key is ${next.id}. ${todo}`)
    return
  }
  const path = join(resolve(config.data.dir), 'sealing.key')
  if (!existsSync(path)) throw new CommandFailed('usage', `there is no sealing key in ${config.data.dir}`)
  // Written before the database knows it: after a crash in between, either file opens what is there.
  const next = await loadSealingKey(`${path}.next`)
  await withStore(programs, config, (store) => store.rotateSealingKey(next))
  await replaceSealingKey(path, `${path}.next`)
  terminal.answer({ sealingKey: next.id }, `The sealing key is ${next.id}: ${path}. Keep a copy of it.`)
}

async function reseal({ config, terminal, programs }: CommandContext): Promise<void> {
  const outcome = await withStore(programs, config, (store) => store.reseal())
  if (outcome.kind === 'too-early') {
    throw new CommandFailed(
      'failed',
      `processes are still learning the new data key; try again after ${when(outcome.from)}`,
    )
  }
  const { resealed, dropped, keptUntil } = outcome
  const rest =
    keptUntil === null
      ? `Dropped ${dropped} older data keys.`
      : `Run it again after ${when(keptUntil)} to drop the older data keys.`
  terminal.answer(
    { resealed, dropped, keptUntil: keptUntil === null ? null : when(keptUntil) },
    `Sealed ${resealed} values anew. ${rest}`,
  )
}

async function rotateEngineKeys({ config, terminal, programs }: CommandContext): Promise<void> {
  const count = await withStore(programs, config, (store) => store.engineCredentials.expire())
  terminal.answer({ keys: count }, `${count} keys are replaced within a minute.`)
}

const when = (timeMs: number) => new Date(timeMs).toISOString()
