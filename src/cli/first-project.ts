/** The project that exists after the first start, and what is printed about it. */
import type { Config } from '../config/config.ts'
import type { Project } from '../store/catalogue.ts'
import type { Catalogue } from '../store/ports.ts'
import { CommandFailed } from './exit-codes.ts'

export interface FirstProject {
  readonly project: Project
  /** This start made it. */
  readonly isNew: boolean
}

const firstName = 'default'

/** Safe to run at every start, also after one that was killed half way. */
export async function ensureFirstProject(catalogue: Catalogue, config: Config['project']): Promise<FirstProject> {
  const masterKey = config.masterKey?.reveal()
  const [oldest] = await catalogue.projects()
  if (oldest) {
    if (masterKey !== undefined && masterKey !== oldest.masterKey) {
      throw new CommandFailed(
        'usage',
        `this data folder was made with another master key for its first project \`${oldest.name}\`; leave the key out, or use another folder`,
      )
    }
    return { project: oldest, isNew: false }
  }
  const organisation = (await catalogue.organisations())[0] ?? (await catalogue.createOrganisation(firstName))
  const project = await catalogue.createProject({
    organisation: organisation.id,
    name: firstName,
    ...(masterKey === undefined ? {} : { masterKey }),
  })
  return { project, isNew: true }
}

/** The webhook of the launch options: it exists as long as they name it. */
export async function applyLaunchWebhook(
  catalogue: Catalogue,
  project: Project,
  config: Config['project'],
): Promise<void> {
  const uuid = '00000000-0000-0000-0000-000000000000'
  if (!config.taskWebhookUrl) {
    const isStored = (await catalogue.webhooks(project.id)).some((webhook) => webhook.uuid === uuid)
    if (isStored) await catalogue.deleteWebhook(project.id, uuid)
    return
  }
  const authorization = config.taskWebhookAuthorization?.reveal()
  await catalogue.putWebhook({
    project: project.id,
    uuid,
    url: config.taskWebhookUrl,
    headers: authorization === undefined ? {} : { Authorization: authorization },
    isEditable: false,
  })
}
