/** The command line: which commands there are, what they accept and what `--help` teaches. */
import { Command, CommanderError, Option } from 'commander'
import { ConfigError, configFields, type Environment, loadConfig } from '../config/config.ts'
import { lockOwner } from '../orchestrator/folder-lock.ts'
import { addBackupCommands } from './backup-command.ts'
import type { CommandContext, EngineOptions, Programs } from './command-context.ts'
import { runDoctor } from './doctor.ts'
import { addForeignFlags, engineEnvironment } from './engine-flags.ts'
import { CommandFailed, type ExitName, exitCodes } from './exit-codes.ts'
import { addFleetCommands } from './fleet-command.ts'
import { addGroupCommands } from './group-command.ts'
import { addIndexCommands } from './index-command.ts'
import { addKeyCommands } from './key-command.ts'
import { addMoveCommands } from './move-command.ts'
import { addNodeCommands } from './node-command.ts'
import { addProjectCommands } from './project-command.ts'
import { addRestoreCommand, addRestoresCommands } from './restore-command.ts'
import { addSecretsCommands } from './secrets-command.ts'
import { showStatus } from './status.ts'
import { createTerminal, type Output, type Terminal } from './terminal.ts'
import { addTokenCommands } from './token-command.ts'
import { addVerifyCommand } from './verify-command.ts'

export interface CommandLine {
  /** Arguments without the program's own path. */
  readonly args: readonly string[]
  readonly env: Environment
  readonly stdout: Output
  readonly stderr: Output
  readonly version: string
  readonly programs: Programs
  /** Gives errors of the parts their exit codes; `undefined` = it has none. */
  readonly exitOf: (error: unknown) => ExitName | undefined
}

/** Runs one command. Resolves to the exit code and never rejects. */
export async function runCommandLine(line: CommandLine): Promise<number> {
  const wantsJson = line.args.includes('--json')
  const terminal = createTerminal(line, wantsJson)
  try {
    await buildProgram(line, terminal).parseAsync([...line.args], { from: 'user' })
    return exitCodes.done.code
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done.code : exitCodes.usage.code
    return reportFailure(error, line, terminal)
  }
}

function reportFailure(error: unknown, line: CommandLine, terminal: Terminal): number {
  const exit =
    error instanceof ConfigError
      ? 'usage'
      : error instanceof CommandFailed
        ? error.exit
        : (line.exitOf(error) ?? 'failed')
  const message = error instanceof Error ? error.message : String(error)
  const isOurMistake = exit === 'failed' && !(error instanceof CommandFailed) && error instanceof Error
  if (terminal.isJson && !terminal.hasAnswered) terminal.answer({ error: { code: exit, message } }, '')
  else terminal.complain(`flapjack: ${isOurMistake ? (error.stack ?? message) : message}`)
  return exitCodes[exit].code
}

export function buildProgram(line: CommandLine, terminal: Terminal): Command {
  const program = new Command('flapjack')
    .description('A Meilisearch server for every team, on a shared, replicated, movable fleet.')
    .version(line.version)
    .option('--json', 'answer in JSON')
    .option('--config <file>', 'configuration file (default: flapjack.yaml in this folder, if there is one)')
    .showHelpAfterError('(--help shows what there is)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => line.stdout.write(text),
      writeErr: (text) => line.stderr.write(text),
    })
    .addHelpText(
      'after',
      '\nExamples:\n  $ flapjack up                                   everything, on 127.0.0.1:7700\n  $ flapjack up --empty --master-key aMasterKey    in the place of `meilisearch --master-key aMasterKey`\n  $ flapjack project create shop                  another "server", with keys of its own\n  $ flapjack status\n\nExit codes:\n' +
        Object.values(exitCodes)
          .map(({ code, meaning }) => `  ${code}  ${meaning}`)
          .join('\n'),
    )

  const runWith = (command: Command) => async (action: (context: CommandContext) => Promise<void>) => {
    const flags: Record<string, unknown> = command.optsWithGlobals()
    const file = typeof flags.config === 'string' ? flags.config : line.env.FLAPJACK_CONFIG
    const env = command.name() === 'engine' ? engineEnvironment(flags, line.env) : line.env
    const config = loadConfig({ env, flags, ...(file === undefined ? {} : { file }) })
    await action({ config, env: line.env, terminal, programs: line.programs })
  }

  const up = program
    .command('up')
    .summary('run everything on this machine')
    .description(
      'Runs the gateway, the worker, the database and the search engine, with all data in one folder. The first start creates a project, prints its keys and loads a data set to search in. Ctrl-C stops in order; nothing that was acknowledged is lost when it is killed.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  $ flapjack up\n  $ flapjack up --empty --master-key aMasterKey --http-addr 0.0.0.0:7700\n  $ flapjack up --engine meilisearch --engine-bin ./meilisearch\n  $ flapjack up --engine-url http://127.0.0.1:7710 --engine-key itsMasterKey',
    )
  addConfigOptions(up, upFlags)
  up.action(() => runWith(up)((context) => line.programs.up(context)))

  const serve = program
    .command('serve')
    .summary('run some parts, next to others')
    .description(
      'Runs parts of the program against a shared database: gateways answer clients, workers bring changes to the engines. Add processes for more of either.',
    )
    .addHelpText(
      'after',
      '\nExample:\n  $ DATABASE_URL=postgres://… flapjack serve --role gateway --http-addr 0.0.0.0:7700',
    )
  addConfigOptions(serve, serveFlags)
  serve.action(() => runWith(serve)((context) => line.programs.serve(context)))

  const engine = program
    .command('engine')
    .summary('run one embedded engine node')
    .description('Runs the embedded search engine alone, with the Meilisearch API. `up` starts these by itself.')
    .option('--end-with-parent', 'end when standard input ends')
    .addHelpText(
      'after',
      '\nExample:\n  $ flapjack engine --data-dir ./node-1 --http-addr 127.0.0.1:7711 --master-key itsMasterKey',
    )
  addConfigOptions(engine, engineFlags)
  addForeignFlags(engine)
  // As Meilisearch calls it, so that scripts that start one start this engine too.
  engine.option('--db-path <value>', 'another name of --data-dir')
  engine.on('option:db-path', (folder: string) => engine.setOptionValue('dataDir', folder))
  engine.action((options: { endWithParent?: boolean }) => {
    const engineOptions: EngineOptions = { endsWithParent: options.endWithParent === true }
    return runWith(engine)((context) => line.programs.engine(context, engineOptions))
  })

  const status = program
    .command('status')
    .description('Shows what runs in a data folder: address, processes, projects, nodes.')
  addConfigOptions(status, storeFlags)
  status.action(() => runWith(status)((context) => showStatus(context, lockOwner(context.config.data.dir))))

  const doctor = program
    .command('doctor')
    .description('Checks the folder, the port, the database, the engine and versions, and says what to do.')
  addConfigOptions(doctor, upFlags)
  doctor.action(() => runWith(doctor)(runDoctor))

  addConfigOptions(
    addVerifyCommand(program, (command, action) => runWith(command)(action)),
    storeFlags,
  )
  addConfigOptions(
    addRestoreCommand(program, (command, action) => runWith(command)(action)),
    storeFlags,
  )
  addProjectCommands(program, (command, action) => runWith(command)(action))
  addIndexCommands(program, (command, action) => runWith(command)(action))
  addMoveCommands(program, (command, action) => runWith(command)(action))
  addBackupCommands(program, (command, action) => runWith(command)(action))
  addRestoresCommands(program, (command, action) => runWith(command)(action))
  addNodeCommands(program, (command, action) => runWith(command)(action))
  addGroupCommands(program, (command, action) => runWith(command)(action))
  addFleetCommands(program, (command, action) => runWith(command)(action))
  addKeyCommands(program, (command, action) => runWith(command)(action))
  addSecretsCommands(program, (command, action) => runWith(command)(action))
  addTokenCommands(program, (command, action) => runWith(command)(action))
  for (const group of program.commands.filter(({ commands }) => commands.length > 0)) {
    for (const command of group.commands) addConfigOptions(command, storeFlags)
  }
  for (const command of [...program.commands, ...program.commands.flatMap(({ commands }) => commands)]) {
    if (command.commands.length === 0) command.option('--json', 'answer in JSON')
  }
  return program
}

const storeFlags = ['data-dir', 'database-url']
const standaloneFlags = configFields.flatMap(({ section, field }) =>
  section === 'standalone' && field.flag ? [field.flag] : [],
)
const engineFlags = [
  'data-dir',
  'http-addr',
  'master-key',
  'log-level',
  'http-payload-size-limit',
  'max-indexing-memory',
  'experimental-allowed-ip-networks',
  'task-webhook-url',
  'task-webhook-authorization-header',
  ...standaloneFlags,
]
const serveFlags = [
  'role',
  'shards',
  'rf',
  'http-addr',
  'log-level',
  'http-payload-size-limit',
  'experimental-allowed-ip-networks',
  ...storeFlags,
]
const upFlags = configFields.flatMap(({ section, field }) =>
  field.flag && field.flag !== 'role' && section !== 'standalone' ? [field.flag] : [],
)

function addConfigOptions(command: Command, flags: readonly string[]): void {
  for (const { field } of configFields) {
    if (!field.flag || !flags.includes(field.flag)) continue
    const isSwitch = typeof field.initial === 'boolean'
    const value = field.flag === 'schedule-snapshot' ? ' [seconds]' : ' <value>'
    const summary = field.about.split('. ')[0]?.replace(/\.$/, '') ?? ''
    const initial = isSwitch ? '' : ` (default: ${field.initialText.replaceAll('`', '')})`
    command.addOption(new Option(`--${field.flag}${isSwitch ? '' : value}`, summary + initial))
  }
}
