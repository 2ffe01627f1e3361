/** `flapjack project …`: projects of the running server. */
import { Argument, type Command } from 'commander'
import { readSettings, SettingRefused, showSettings } from '../control/project-settings.ts'
import type { Project, ProjectSettings } from '../store/catalogue.ts'
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

  project
    .command('set')
    .argument('<project>', 'name or reference')
    .argument('[settings...]', 'such as `reveal_keys=off`; none shows what is set')
    .description(
      'Settings: `reveal_keys` (on: `GET /keys` shows values of keys), `allow_master_key` (on: it is a credential), `cors_origins` (`*`, or a list of origins whose pages may read answers), `hosts` (a list of host names that belong to the project). Running gateways follow within a second.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  $ flapjack project set shop reveal_keys=off allow_master_key=off\n  $ flapjack project set shop cors_origins=https://shop.example.com',
    )
    .action((name: string, settings: readonly string[], _: object, command: Command) =>
      run(command, (context) => setSettings(context, name, settings)),
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

async function setSettings(
  { config, terminal, programs }: CommandContext,
  nameOrRef: string,
  assignments: readonly string[],
): Promise<void> {
  const wanted = wantedSettings(assignments)
  await withStore(programs, config, async ({ catalogue }) => {
    const project = await requireProject(catalogue, nameOrRef)
    const others = (await catalogue.projects()).filter(({ id }) => id !== project.id)
    const taken = wanted.hosts?.find((host) => others.some(({ settings }) => settings.hosts.includes(host)))
    if (taken !== undefined) throw new CommandFailed('failed', `the host \`${taken}\` belongs to another project`)
    const { ref, name, settings } =
      assignments.length === 0
        ? project
        : await catalogue.changeSettings(project.id, (before) => ({ ...before, ...wanted }))
    const shown = showSettings(settings)
    terminal.answer({ ref, name, settings: shown }, formatColumns(Object.entries(shown).map((entry) => [...entry])))
  })
}

function wantedSettings(assignments: readonly string[]): Partial<ProjectSettings> {
  try {
    return readSettings(assignments)
  } catch (error) {
    throw error instanceof SettingRefused ? new CommandFailed('usage', error.message) : error
  }
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

/** @throws CommandFailed with exit code 8. */
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

function projectView({ ref, name, state, masterKey, settings, createdAt }: Project) {
  const shown = { ...showSettings(settings) }
  return { ref, name, state, masterKey, settings: shown, createdAt: new Date(createdAt).toISOString() }
}

function projectLines(project: Project, keys: readonly KeyView[]): string {
  const { ref, name, state, masterKey } = project
  return [
    ...[`Project     ${name} (${state})`, `Reference   ${ref}`, `Master key  ${masterKey}`],
    ...['', keyLines(keys)],
  ].join('\n')
}
