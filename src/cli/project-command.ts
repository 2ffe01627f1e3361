/** `flapjack project …`: projects of the running server. */
import { Argument, type Command } from 'commander'
import type { Project } from '../store/catalogue.ts'
import type { Catalogue } from '../store/ports.ts'
import type { CommandContext, RunCommand } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { type KeyView, keyLines, showKeys } from './key-view.ts'
import { withStore } from './store-access.ts'
import { formatColumns } from './terminal.ts'

interface NewProjectOptions {
  readonly organisation?: string
  readonly projectMasterKey?: string
}

export function addProjectCommands(program: Command, run: RunCommand): void {
  const project = program
    .command('project')
    .summary('projects: each one is a Meilisearch server of its own')
    .description('A project has its own master key, keys, indexes and tasks, and sees nothing of other projects.')
    .addHelpText('after', '\nExamples:\n  $ flapjack project create shop\n  $ flapjack project show shop --json')

  project
    .command('create')
    .argument('<name>', 'what people call it')
    .option('--organisation <name>', 'who it belongs to; the first one when left out')
    .option('--project-master-key <key>', 'its master key; a random one when left out')
    .description('Creates a project and prints its reference, its master key and its default keys.')
    .addHelpText('after', '\nExample:\n  $ flapjack project create shop')
    .action((name: string, options: NewProjectOptions, command: Command) =>
      run(command, (context) => createProject(context, name, options)),
    )

  project
    .command('list')
    .description('Lists the projects.')
    .action((_: object, command: Command) => run(command, listProjects))

  project
    .command('show')
    .argument('<project>', 'name or reference')
    .description('Prints one project with its master key and keys.')
    .action((name: string, _: object, command: Command) => run(command, (context) => showProject(context, name)))

  project
    .command('state')
    .argument('<project>', 'name or reference')
    .addArgument(new Argument('<state>', 'what its keys may do').choices(settableStates))
    .description('`read_only` refuses writes, `suspended` everything. Running gateways follow within a second.')
    .action((name: string, state: SettableState, _: object, command: Command) =>
      run(command, (context) => setState(context, name, state)),
    )
}

const settableStates = ['active', 'read_only', 'suspended'] as const
type SettableState = (typeof settableStates)[number]

async function setState(
  { config, terminal, programs }: CommandContext,
  nameOrRef: string,
  state: SettableState,
): Promise<void> {
  await withStore(programs, config, async ({ catalogue }) => {
    const { id, ref, name } = await requireProject(catalogue, nameOrRef)
    await catalogue.setProjectState(id, state)
    terminal.answer({ ref, name, state }, `Project ${name} is ${state}.`)
  })
}

async function createProject(
  { config, terminal, programs }: CommandContext,
  name: string,
  options: NewProjectOptions,
): Promise<void> {
  await withStore(programs, config, async ({ catalogue }) => {
    if (await catalogue.findProject(name)) throw new CommandFailed('failed', `there is a project \`${name}\` already`)
    const organisation = await findOrganisation(catalogue, options.organisation)
    const project = await catalogue.createProject({
      organisation,
      name,
      ...(options.projectMasterKey === undefined ? {} : { masterKey: options.projectMasterKey }),
    })
    const keys = showKeys(project, await catalogue.keys(project.id))
    terminal.answer({ ...projectView(project), keys: [...keys] }, `Created.\n${projectLines(project, keys)}`)
  })
}

async function listProjects({ config, terminal, programs }: CommandContext): Promise<void> {
  await withStore(programs, config, async ({ catalogue }) => {
    const projects = await catalogue.projects()
    const rows = projects.map(({ ref, name, state, createdAt }) => [
      ref,
      name,
      state,
      new Date(createdAt).toISOString(),
    ])
    terminal.answer(
      projects.map(({ ref, name, state, createdAt }) => ({
        ref,
        name,
        state,
        createdAt: new Date(createdAt).toISOString(),
      })),
      formatColumns([['REF', 'NAME', 'STATE', 'CREATED'], ...rows]),
    )
  })
}

async function showProject({ config, terminal, programs }: CommandContext, nameOrRef: string): Promise<void> {
  await withStore(programs, config, async ({ catalogue }) => {
    const project = await requireProject(catalogue, nameOrRef)
    const keys = showKeys(project, await catalogue.keys(project.id))
    terminal.answer({ ...projectView(project), keys: [...keys] }, projectLines(project, keys))
  })
}

/** @throws CommandFailed with exit code 3. */
export async function requireProject(catalogue: Pick<Catalogue, 'findProject'>, nameOrRef: string): Promise<Project> {
  const project = await catalogue.findProject(nameOrRef)
  if (project?.state === 'unreadable') {
    throw new CommandFailed(
      'failed',
      `the secrets of project \`${project.name}\` do not open; restore its row from a backup`,
    )
  }
  if (project) return project
  throw new CommandFailed('notFound', `no project \`${nameOrRef}\`; \`flapjack project list\` shows all`)
}

async function findOrganisation(catalogue: Catalogue, name: string | undefined): Promise<string> {
  const organisations = await catalogue.organisations()
  const found = name === undefined ? organisations[0] : organisations.find((candidate) => candidate.name === name)
  return (found ?? (await catalogue.createOrganisation(name ?? 'default'))).id
}

function projectView({ ref, name, state, masterKey, createdAt }: Project) {
  return { ref, name, state, masterKey, createdAt: new Date(createdAt).toISOString() }
}

function projectLines(project: Project, keys: readonly KeyView[]): string {
  const { ref, name, state, masterKey } = project
  return [
    ...[`Project     ${name} (${state})`, `Reference   ${ref}`, `Master key  ${masterKey}`],
    ...['', keyLines(keys)],
  ].join('\n')
}
