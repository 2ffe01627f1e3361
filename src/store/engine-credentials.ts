/** Keys of nodes that gateways hold, as rows (P-22). A change is an event of the catalogue. */
import { SealBroken } from '../lib/seal.ts'
import type { Credential, NodeId, ProjectId } from './catalogue.ts'
import type { Sealing } from './data-keys.ts'
import { type Database, reach } from './database.ts'
import type { Opener } from './key-ring.ts'
import type { Signals } from './signals.ts'
import type { Tables } from './tables.ts'
import { recordEvents, transact } from './transaction.ts'

/** With what is needed to make it again. */
export interface KeptCredential extends Credential {
  /** 1 or more; 0 = it is the node's own key, which may make no others. */
  readonly generation: number
  readonly madeAt: number
}

export interface ProjectOnNode {
  readonly id: ProjectId
  readonly ref: string
}

export interface EngineCredentials {
  ofNode(node: NodeId): Promise<readonly KeptCredential[]>
  has(id: string): Promise<boolean>
  /** Of projects on the node. */
  count(node: NodeId): Promise<number>
  /** Projects with an index on the node, written or read. */
  projectsOn(node: NodeId): Promise<readonly ProjectOnNode[]>
  /** Its reference. */
  project(id: ProjectId): Promise<ProjectOnNode | undefined>
  /** Inserts or replaces. */
  put(credential: KeptCredential): Promise<void>
  /** Every one is due to be replaced. Answers how many. */
  expire(): Promise<number>
}

export const credentialContext = (id: string) => `engine-credential:${id}`

export type CredentialRow = Tables['engine_credentials']

/** `undefined`: it does not open, which is as good as none. */
export function decodeCredential(sealing: Opener, row: CredentialRow): KeptCredential | undefined {
  try {
    const key = sealing.open(row.key_sealed, credentialContext(row.id)).toString()
    const { id, node_id: node, project_id: project, generation, made_at: madeAt } = row
    return { id, node, project, key, generation, madeAt }
  } catch (error) {
    if (error instanceof SealBroken) return undefined
    throw error
  }
}

export function openEngineCredentials({
  database,
  sealing,
  signals,
}: {
  readonly database: Database
  readonly sealing: Sealing
  readonly signals: Signals
}): EngineCredentials {
  const { pool } = database
  return {
    async ofNode(node) {
      const { rows } = await reach(() =>
        pool.query<CredentialRow>('select * from engine_credentials where node_id = $1', [node]),
      )
      return rows.flatMap((row) => decodeCredential(sealing, row) ?? [])
    },
    async has(id) {
      const { rowCount } = await reach(() => pool.query('select 1 from engine_credentials where id = $1', [id]))
      return rowCount === 1
    },
    async count(node) {
      const { rows } = await reach(() =>
        pool.query<{ count: number }>(
          'select count(*) as count from engine_credentials where node_id = $1 and project_id is not null',
          [node],
        ),
      )
      return rows[0]?.count ?? 0
    },
    async projectsOn(node) {
      const { rows } = await reach(() =>
        pool.query<ProjectOnNode>(
          `select id, ref from projects where id in (
             select i.project_id from placements p join indexes i on i.id = p.index_id where p.node_id = $1 and not p.is_gone
           ) order by created_at, id`,
          [node],
        ),
      )
      return rows
    },
    async project(id) {
      const { rows } = await reach(() => pool.query<ProjectOnNode>('select id, ref from projects where id = $1', [id]))
      return rows[0]
    },
    async put({ id, node, project, key, generation, madeAt }) {
      await transact(database, async (client) => {
        const seals = await sealing.ofProjects(client, project === null ? [] : [project])
        const seal = project === null ? sealing.ofInstallation : seals(project)
        await client.query(
          `insert into engine_credentials (id, node_id, project_id, generation, key_sealed, made_at)
           values ($1, $2, $3, $4, $5, $6)
           on conflict (id) do update set generation = $4, key_sealed = $5, made_at = $6`,
          [id, node, project, generation, seal.seal(key, credentialContext(id)), madeAt],
        )
        await recordEvents(client, [{ entity: 'credential', project, entityId: id }])
      })
      signals.send('flapjack_catalogue', '')
    },
    async expire() {
      const { rowCount } = await reach(() => pool.query('update engine_credentials set made_at = 0'))
      return rowCount ?? 0
    },
  }
}
