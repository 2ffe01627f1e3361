/** `flapjack key …`: keys of a project. The same keys as `/keys` of the API shows. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { v4 as uuidV4 } from 'uuid'
import { keyPresets } from '../api/actions.ts'
import type { CommandContext, RunCommand } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { keyLines, showKeys } from './key-view.ts'
import { requireProject } from './project-command.ts'
import { withStore } from './store-access.ts'

interface NewKeyOptions {
  readonly actions?: readonly string[]
  readonly preset?: string
  readonly indexes: readonly string[]
  readonly name?: string
  readonly description?: string
  readonly expires?: number
}

export function addKeyCommands(program: Command, run: RunCommand): void {
  const key = program
    .command('key')
    .summary('keys of a project')
    .description('Keys give a client some actions on some indexes of one project.')
    .addHelpText(
      'after',
      '\nExamples:\n  $ flapjack key create shop --actions search --indexes "products*" --expires 2030-01-01\n  $ flapjack key list shop\n  $ flapjack key revoke shop 6062abda-a5aa-4414-ac91-ecd7944c0f8d',
    )

  key
    .command('create')
    .argument('<project>', 'name or reference')
    .option('--actions <list>', 'what it may do, such as `search,documents.add`; `*` is everything', parseList)
    .addOption(new Option('--preset <name>', 'actions by a name').choices(Object.keys(keyPresets)).conflicts('actions'))
    .option('--indexes <list>', 'index names or prefixes such as `products*`', parseList, ['*'])
    .option('--name <name>', 'what people call it')
    .option('--description <text>', 'what it is for')
    .option('--expires <date>', 'when it stops working, such as 2030-01-01', parseDate)
    .description('Creates a key and prints its value.')
    .action((project: string, options: NewKeyOptions, command: Command) =>
      run(command, (context) => createKey(context, project, options)),
    )

  key
    .command('list')
    .argument('<project>', 'name or reference')
    .description('Lists the keys with their values, newest first.')
    .action((project: string, _: object, command: Command) => run(command, (context) => listKeys(context, project)))

  key
    .command('revoke')
    .argument('<project>', 'name or reference')
    .argument('<key>', 'uid or value of the key')
    .description('Deletes a key. Running gateways refuse it within a second.')
    .action((project: string, name: string, _: object, command: Command) =>
      run(command, (context) => revokeKey(context, project, name)),
    )
}

async function createKey(context: CommandContext, nameOrRef: string, options: NewKeyOptions): Promise<void> {
  const actions = options.actions ?? Object.entries(keyPresets).find(([name]) => name === options.preset)?.[1]
  if (actions === undefined) throw new CommandFailed('usage', 'say what the key may do: --actions or --preset')
  await withStore(context.programs, context.config, async ({ catalogue }) => {
    const project = await requireProject(catalogue, nameOrRef)
    const created = await catalogue.createKey(project.id, {
      uid: uuidV4(),
      name: options.name ?? null,
      description: options.description ?? null,
      actions,
      indexes: options.indexes,
      expiresAt: options.expires ?? null,
    })
    if (created === 'exists') throw new CommandFailed('failed', 'that uid is taken; try again')
    const [view] = showKeys(project, [created])
    context.terminal.answer({ ...view }, view ? view.key : '')
  })
}

async function listKeys({ config, terminal, programs }: CommandContext, nameOrRef: string): Promise<void> {
  await withStore(programs, config, async ({ catalogue }) => {
    const project = await requireProject(catalogue, nameOrRef)
    const keys = showKeys(project, await catalogue.keys(project.id))
    terminal.answer(
      keys.map((key) => ({ ...key })),
      keyLines(keys),
    )
  })
}

async function revokeKey(context: CommandContext, nameOrRef: string, uidOrValue: string): Promise<void> {
  await withStore(context.programs, context.config, async ({ catalogue }) => {
    const project = await requireProject(catalogue, nameOrRef)
    const keys = showKeys(project, await catalogue.keys(project.id))
    const found = keys.find(({ uid, key }) => uid === uidOrValue || key === uidOrValue)
    if (!found || !(await catalogue.deleteKey(project.id, found.uid))) {
      throw new CommandFailed(
        'notFound',
        `project \`${project.name}\` has no such key; \`flapjack key list\` shows all`,
      )
    }
    context.terminal.answer({ revoked: found.uid }, `Revoked ${found.uid}.`)
  })
}

function parseList(text: string): readonly string[] {
  return text.split(/[\s,]+/).filter((part) => part !== '')
}

function parseDate(text: string): number {
  const time = Date.parse(text)
  if (Number.isNaN(time))
    throw new InvalidArgumentError('a date such as 2030-01-01 or 2030-01-01T12:00:00Z is expected')
  if (time <= Date.now()) throw new InvalidArgumentError('it lies in the past')
  return time
}
