/**
 * Keeps a process's key ring in step with the database: once a minute, and at once when a value names a key that is not known.
 * Knows which data key what a project keeps is sealed under: its organisation's.
 */
import type { PoolClient } from 'pg'
import { assert } from '../lib/assert.ts'
import type { Clock } from '../lib/clock.ts'
import type { SealingKey } from '../lib/seal.ts'
import type { OrganisationId, ProjectId } from './catalogue.ts'
import { readDataKeys } from './data-key-rows.ts'
import type { Database, StoreLogger } from './database.ts'
import { createKeyRing, type KeyRing, type Opener, type Seal } from './key-ring.ts'
import { StoreUnavailable } from './ports.ts'

/** What rows are sealed with and opened by. */
export interface Sealing extends Opener {
  /** For what belongs to no organisation. */
  readonly ofInstallation: Seal
  /** For what belongs to an organisation, within a transaction. */
  ofOrganisation(client: PoolClient, organisation: OrganisationId): Promise<Seal>
  /**
   * The same by the projects; whose they are is asked once for each, and then remembered. They must exist. A data key that does not open
   * shows when its seal is asked for: `SealBroken`.
   */
  ofProjects(client: PoolClient, projects: readonly ProjectId[]): Promise<(project: ProjectId) => Seal>
  /** Reads the data keys of the database anew: after an `UnknownDataKey`. */
  learn(): Promise<void>
}

/** Of projects whose organisation a process remembers, about 10 MB; beyond that it begins anew. */
const ownersMax = 100_000
/** Of values that do not open: each is told once. */
const toldMax = 1_000
const readAgainMs = 60_000

export interface DataKeys {
  readonly ring: KeyRing
  readonly sealing: Sealing
  read(): Promise<void>
  /** From now on the ring is kept in step. May be called twice. */
  follow(): void
  close(): Promise<void>
}

export function keepDataKeys(
  database: Database,
  {
    masters,
    clock,
    logger,
  }: { readonly masters: () => Promise<readonly SealingKey[]>; readonly clock: Clock; readonly logger: StoreLogger },
): DataKeys {
  const closing = new AbortController()
  let reading: Promise<void> | undefined
  let following: Promise<void> | undefined
  const owners = new Map<ProjectId, OrganisationId>()
  const told = new Set<string>()
  const ring = createKeyRing({
    clock,
    onUnknown: () => void readQuietly(),
    onBroken: (value, error) => {
      if (told.has(value) || told.size >= toldMax) return
      told.add(value)
      logger.error(
        { value, reason: error.message },
        'a secret in the database does not open: what needs it is out of service',
      )
    },
  })

  async function read(from: Pick<Database['pool'], 'query'> = database.pool): Promise<void> {
    ring.load(await readDataKeys(from, ring.version), await masters())
  }

  async function learnOwners(client: PoolClient, projects: readonly ProjectId[]): Promise<void> {
    if (owners.size > ownersMax) owners.clear()
    const missing = projects.filter((project) => !owners.has(project))
    if (missing.length === 0) return
    const { rows } = await client.query<{ id: ProjectId; organisation_id: OrganisationId }>({
      name: 'owners',
      text: 'select id, organisation_id from projects where id = any($1::uuid[])',
      values: [missing],
    })
    for (const row of rows) owners.set(row.id, row.organisation_id)
  }

  async function learnOrganisations(client: PoolClient, organisations: readonly OrganisationId[]): Promise<void> {
    if (organisations.some((organisation) => !ring.hasOrganisation(organisation))) await read(client)
  }

  const sealing: Sealing = {
    open: ring.open,
    ofInstallation: ring,
    async ofOrganisation(client, organisation) {
      await learnOrganisations(client, [organisation])
      return ring.ofOrganisation(organisation)
    },
    async ofProjects(client, projects) {
      await learnOwners(client, projects)
      const ownerOf = (project: ProjectId) => {
        const organisation = owners.get(project)
        assert(organisation !== undefined, 'what is sealed belongs to a project that exists')
        return organisation
      }
      await learnOrganisations(client, projects.map(ownerOf))
      return (project) => ring.ofOrganisation(ownerOf(project))
    },
    learn: () => read(),
  }

  function readQuietly(): Promise<void> {
    reading ??= read()
      .catch((error: unknown) => {
        const isNews = !(error instanceof StoreUnavailable) && !closing.signal.aborted
        if (isNews) logger.error({ err: error }, 'the keys of the store cannot be read')
      })
      .finally(() => {
        reading = undefined
      })
    return reading
  }

  async function follow(): Promise<void> {
    for (;;) {
      try {
        await clock.sleep(readAgainMs, closing.signal)
      } catch {
        return
      }
      await readQuietly()
    }
  }

  return {
    ring,
    sealing,
    read: () => read(),
    follow() {
      following ??= follow()
    },
    async close() {
      closing.abort(new Error('closed'))
      await following
      await reading
    },
  }
}
