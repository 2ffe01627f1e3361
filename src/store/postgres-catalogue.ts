/** The catalogue over PostgreSQL. Every write records its events in its own transaction, then wakes the followers. */
import type { PoolClient } from 'pg'
import { ApiError } from '../api/errors.ts'
import { emptyNetwork } from '../api/network-body.ts'
import { assert } from '../lib/assert.ts'
import type { Clock } from '../lib/clock.ts'
import { orderedIds } from '../lib/ordered-id.ts'
import type { Random } from '../lib/random.ts'
import {
  type ApiKey,
  type CatalogueEvent,
  defaultProjectSettings,
  type Node,
  noTokenRules,
  type Project,
  type ProjectId,
  type ProjectSettings,
  type TokenRules,
} from './catalogue.ts'
import { readChanges, readSnapshot } from './catalogue-reads.ts'
import {
  chatsContext,
  decodeKey,
  decodeOrganisation,
  decodeProject,
  decodeWebhook,
  type KeyRow,
  masterKeyContext,
  networkContext,
  openChats,
  openNetwork,
  type WebhookRow,
  webhookContext,
} from './catalogue-rows.ts'
import { type KeyMaking, makeOrganisationKeys } from './data-key-rows.ts'
import type { Sealing } from './data-keys.ts'
import { type Database, reach, reachInTime } from './database.ts'
import { defaultKeys } from './default-keys.ts'
import { keyHash } from './key-hash.ts'
import { UnknownDataKey } from './key-ring.ts'
import { decodeNode, type NodeRow, type NodeView, nodeKeyContext } from './node-row.ts'
import { type Catalogue, type NewKey, webhookCountMax } from './ports.ts'
import { newProjectRef } from './project-ref.ts'
import type { Signals } from './signals.ts'
import type { Tables } from './tables.ts'
import { recordEvents, transact } from './transaction.ts'

export interface CatalogueDependencies {
  readonly database: Database
  readonly sealing: Sealing
  /** What of nodes it shows when it is read as a whole or followed. */
  readonly nodeView: NodeView
  /** What the first data key of an organisation is made with. */
  readonly keyMaking: KeyMaking
  readonly signals: Signals
  readonly clock: Clock
  readonly random: Random
}

/** Different keys that do not exist, met in one read. */
const unknownKeysMax = 10

type ProjectRow = Tables['projects']

export function openPostgresCatalogue(deps: CatalogueDependencies): Catalogue {
  const { database, sealing, signals, clock, random } = deps
  const { db, pool } = database
  const newId = orderedIds(clock, random)

  /** Runs an edit and records its events, if it answers any. */
  const edit = async <T>(
    work: (
      client: PoolClient,
    ) => Promise<{ readonly result: T; readonly events: readonly Omit<CatalogueEvent, 'version'>[] }>,
  ): Promise<T> => {
    const { result, events } = await transact(database, async (client) => {
      const outcome = await work(client)
      await recordEvents(client, outcome.events)
      return outcome
    })
    if (events.length > 0) signals.send('flapjack_catalogue', '')
    return result
  }

  /** A row may stand under a key that is newer than this process, or under none that there is. */
  const withKeys = async <T>(read: () => Promise<T>): Promise<T> => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await read()
      } catch (error) {
        if (!(error instanceof UnknownDataKey) || attempt > unknownKeysMax) throw error
        await sealing.learn()
      }
    }
  }

  const editProject = (project: ProjectId, column: 'state' | 'features', value: string) =>
    edit(async (client) => {
      const { rows } = await client.query<ProjectRow>(`update projects set ${column} = $2 where id = $1 returning *`, [
        project,
        value,
      ])
      const [row] = rows
      assert(row !== undefined, 'a project that is edited exists')
      return { result: decodeProject(sealing, row), events: [{ entity: 'project', project, entityId: project }] }
    })

  /** One change after the other. What `change` throws is thrown. */
  const changeProject = (
    project: ProjectId,
    change: (before: Project) => {
      readonly after: Project
      readonly column: 'token_rules' | 'settings'
      readonly value: TokenRules | ProjectSettings
    },
  ) =>
    edit(async (client) => {
      const { rows } = await client.query<ProjectRow>('select * from projects where id = $1 for no key update', [
        project,
      ])
      assert(rows[0] !== undefined, 'a project that is edited exists')
      const { after, column, value } = change(decodeProject(sealing, rows[0]))
      await client.query(`update projects set ${column} = $2 where id = $1`, [project, JSON.stringify(value)])
      return { result: after, events: [{ entity: 'project', project, entityId: project }] }
    })

  return {
    snapshot: () => withKeys(() => reach(() => readSnapshot(db, sealing, deps.nodeView))),
    async version() {
      const read = () => db.selectFrom('instance').select('catalogue_version').executeTakeFirstOrThrow()
      return (await reachInTime(read)).catalogue_version
    },
    changesAfter: (version, limit) =>
      withKeys(() => reachInTime(() => readChanges(db, sealing, deps.nodeView, version, limit))),
    async onChange(listener) {
      const stop = signals.listen('flapjack_catalogue', () => listener())
      return async () => stop()
    },

    async organisations() {
      const rows = await reach(() =>
        db.selectFrom('organisations').selectAll().orderBy('created_at').orderBy('id').execute(),
      )
      return rows.map(decodeOrganisation)
    },
    async createOrganisation(name) {
      const organisation = { id: newId(), name, createdAt: clock.now() }
      await transact(database, async (client) => {
        await client.query('insert into organisations (id, name, created_at) values ($1, $2, $3)', [
          organisation.id,
          name,
          organisation.createdAt,
        ])
        await makeOrganisationKeys(client, [organisation.id], deps.keyMaking)
      })
      return organisation
    },
    async projects() {
      const rows = await reach(() =>
        db.selectFrom('projects').selectAll().orderBy('created_at').orderBy('id').execute(),
      )
      return rows.map((row) => decodeProject(sealing, row))
    },
    async findProject(nameOrRef) {
      const { rows } = await reach(() =>
        pool.query<ProjectRow>(
          `select * from projects where ref = $1 or lower(name) = lower($1)
           order by (ref = $1) desc, created_at, id limit 1`,
          [nameOrRef],
        ),
      )
      return rows[0] && decodeProject(sealing, rows[0])
    },
    createProject: ({ organisation, name, masterKey }) =>
      edit(async (client) => {
        const project: Project = {
          id: newId(),
          organisation,
          ref: newProjectRef(random),
          name,
          state: 'active',
          masterKey: masterKey ?? Buffer.from(random.bytes(32)).toString('hex'),
          features: {},
          tokens: noTokenRules,
          settings: defaultProjectSettings,
          searchRules: [],
          createdAt: clock.now(),
        }
        const seal = await sealing.ofOrganisation(client, organisation)
        await client.query(
          `insert into projects (id, organisation_id, ref, name, state, master_key_sealed, created_at)
           values ($1, $2, $3, $4, 'active', $5, $6)`,
          [
            project.id,
            organisation,
            project.ref,
            name,
            seal.seal(project.masterKey, masterKeyContext(project.id)),
            project.createdAt,
          ],
        )
        await client.query('insert into project_progress (project_id) values ($1)', [project.id])
        const events: Omit<CatalogueEvent, 'version'>[] = [
          { entity: 'project', project: project.id, entityId: project.id },
        ]
        // Keys are listed newest first, so the last of the list is created first.
        for (const key of [...defaultKeys].reverse()) {
          const { uid } = await insertKey(client, project, { ...key, uid: random.uuid() }, clock.now())
          events.push({ entity: 'key', project: project.id, entityId: uid })
        }
        return { result: project, events }
      }),
    setProjectState: (project, state) => editProject(project, 'state', state),
    setFeatures: (project, features) => editProject(project, 'features', JSON.stringify(features)),
    changeTokenRules: (project, change) =>
      changeProject(project, (before) => {
        const tokens = change(before.tokens)
        return { after: { ...before, tokens }, column: 'token_rules', value: tokens }
      }),
    changeSettings: (project, change) =>
      changeProject(project, (before) => {
        const settings = change(before.settings)
        return { after: { ...before, settings }, column: 'settings', value: settings }
      }),

    async keys(project) {
      const { rows } = await reach(() =>
        pool.query<KeyRow>('select * from api_keys where project_id = $1 order by created_at desc, seq desc', [
          project,
        ]),
      )
      return rows.map(decodeKey)
    },
    createKey: (project, key) =>
      edit<ApiKey | 'exists'>(async (client) => {
        const { rows } = await client.query<ProjectRow>('select * from projects where id = $1 for share', [project])
        assert(rows[0] !== undefined, 'a key is created in a project that exists')
        const taken = await client.query('select 1 from api_keys where project_id = $1 and uid = $2', [
          project,
          key.uid.toLowerCase(),
        ])
        if (taken.rowCount !== 0) return { result: 'exists', events: [] }
        const created = await insertKey(client, decodeProject(sealing, rows[0]), key, clock.now())
        return { result: created, events: [{ entity: 'key', project, entityId: created.uid }] }
      }),
    updateKey: (project, uid, change) =>
      edit(async (client) => {
        const entityId = uid.toLowerCase()
        const { rows } = await client.query<KeyRow>(
          'select * from api_keys where project_id = $1 and uid = $2 for update',
          [project, entityId],
        )
        if (rows[0] === undefined) return { result: undefined, events: [] }
        const before = decodeKey(rows[0])
        const after: ApiKey = {
          ...before,
          name: change.name === undefined ? before.name : change.name,
          description: change.description === undefined ? before.description : change.description,
          updatedAt: clock.now(),
        }
        await client.query('update api_keys set labels = $3, updated_at = $4 where project_id = $1 and uid = $2', [
          project,
          entityId,
          labelsOf(after),
          after.updatedAt,
        ])
        return { result: after, events: [{ entity: 'key', project, entityId }] }
      }),
    deleteKey: (project, uid) =>
      edit(async (client) => {
        const entityId = uid.toLowerCase()
        const { rowCount } = await client.query('delete from api_keys where project_id = $1 and uid = $2', [
          project,
          entityId,
        ])
        return { result: rowCount === 1, events: rowCount === 1 ? [{ entity: 'key', project, entityId }] : [] }
      }),

    async webhooks(project) {
      const { rows } = await reach(() =>
        pool.query<WebhookRow>('select * from webhooks where project_id = $1 order by seq', [project]),
      )
      return rows.map((row) => decodeWebhook(sealing, row))
    },
    putWebhook: ({ project, uuid, url, headers, isEditable }) =>
      edit<'stored' | 'too-many'>(async (client) => {
        // The project's row is the lock that keeps two requests from both taking the last place.
        await client.query('select 1 from projects where id = $1 for no key update', [project])
        const { rows } = await client.query<{ count: number }>(
          'select count(*) as count from webhooks where project_id = $1 and uuid <> $2 and is_editable',
          [project, uuid],
        )
        if (isEditable && (rows[0]?.count ?? 0) >= webhookCountMax) {
          return { result: 'too-many', events: [] }
        }
        const seals = await sealing.ofProjects(client, [project])
        await client.query(
          `insert into webhooks (project_id, uuid, url, headers_sealed, is_editable) values ($1, $2, $3, $4, $5)
           on conflict (project_id, uuid) do update set
             url = excluded.url, headers_sealed = excluded.headers_sealed, is_editable = excluded.is_editable`,
          [project, uuid, url, seals(project).seal(JSON.stringify(headers), webhookContext(project, uuid)), isEditable],
        )
        return { result: 'stored', events: [{ entity: 'webhook', project, entityId: uuid }] }
      }),
    deleteWebhook: (project, uuid) =>
      edit(async (client) => {
        const { rowCount } = await client.query('delete from webhooks where project_id = $1 and uuid = $2', [
          project,
          uuid,
        ])
        return {
          result: rowCount === 1,
          events: rowCount === 1 ? [{ entity: 'webhook', project, entityId: uuid }] : [],
        }
      }),

    async network(project) {
      const { rows } = await reach(() =>
        pool.query<{ network_sealed: Buffer }>('select network_sealed from networks where project_id = $1', [project]),
      )
      return rows[0] === undefined ? emptyNetwork : openNetwork(sealing, project, rows[0].network_sealed)
    },
    async chats(project) {
      const { rows } = await reach(() =>
        pool.query<{ chats_sealed: Buffer | null }>('select chats_sealed from networks where project_id = $1', [
          project,
        ]),
      )
      const sealed = rows[0]?.chats_sealed ?? null
      return sealed === null ? {} : openChats(sealing, project, sealed)
    },
    changeChats: (project, change) =>
      transact(database, async (client) => {
        await client.query('select 1 from projects where id = $1 for no key update', [project])
        const { rows } = await client.query<{ chats_sealed: Buffer | null }>(
          'select chats_sealed from networks where project_id = $1',
          [project],
        )
        const sealed = rows[0]?.chats_sealed ?? null
        const after = change(sealed === null ? {} : openChats(sealing, project, sealed))
        const seals = await sealing.ofProjects(client, [project])
        await client.query(
          `insert into networks (project_id, network_sealed, chats_sealed) values ($1, $2, $3)
           on conflict (project_id) do update set chats_sealed = excluded.chats_sealed`,
          [
            project,
            seals(project).seal(JSON.stringify(emptyNetwork), networkContext(project)),
            seals(project).seal(JSON.stringify(after), chatsContext(project)),
          ],
        )
        return after
      }),
    changeNetwork: (project, change) =>
      transact(database, async (client) => {
        // The project's row is the lock: there may be no network yet.
        await client.query('select 1 from projects where id = $1 for no key update', [project])
        const { rows } = await client.query<{ network_sealed: Buffer }>(
          'select network_sealed from networks where project_id = $1',
          [project],
        )
        const after = change(
          rows[0] === undefined ? emptyNetwork : openNetwork(sealing, project, rows[0].network_sealed),
        )
        const seals = await sealing.ofProjects(client, [project])
        await client.query(
          `insert into networks (project_id, network_sealed) values ($1, $2)
           on conflict (project_id) do update set network_sealed = excluded.network_sealed`,
          [project, seals(project).seal(JSON.stringify(after), networkContext(project))],
        )
        return after
      }),

    async nodes() {
      const rows = await reach(() =>
        db.selectFrom('nodes').selectAll().where('is_removed', '=', false).orderBy('id').execute(),
      )
      return rows.map((row) => decodeNode(sealing, row))
    },
    putNode: ({ id, engine, url, region, key, group, capacity, takesExisting, seat = null }) =>
      edit(async (client) => {
        const { rows } = await client.query<NodeRow>(
          `insert into nodes (id, engine, url, region, state, key_sealed, replica_group, capacity, takes_existing, seat)
           values ($1, $2, $3, $4, 'active', $5, coalesce($6::int, 0), $7::text, $8, $9)
           on conflict (id) do update set
             engine = excluded.engine, url = excluded.url, region = excluded.region, key_sealed = excluded.key_sealed,
             replica_group = coalesce($6::int, nodes.replica_group), capacity = coalesce($7::text, nodes.capacity)
           where not nodes.is_removed returning *`,
          [
            id,
            engine,
            url,
            region,
            key === null ? null : sealing.ofInstallation.seal(key, nodeKeyContext(id)),
            group ?? null,
            capacity === undefined || capacity === null ? null : JSON.stringify(capacity),
            ...[takesExisting === true, seat],
          ],
        )
        if (rows[0] === undefined)
          throw new ApiError('miroir_conflict', `There was a node \`${id}\`; its id is not used again.`)
        const node: Node = decodeNode(sealing, rows[0])
        return { result: node, events: [{ entity: 'node', project: null, entityId: id }] }
      }),
    letNodesTake: (ids, takes) =>
      edit(async (client) => {
        const { rows } = await client.query<{ id: string }>(
          'update nodes set takes_existing = $2 where id = any($1::text[]) and takes_existing <> $2 returning id',
          [ids, takes],
        )
        return {
          result: undefined,
          events: rows.map(({ id }) => ({ entity: 'node' as const, project: null, entityId: id })),
        }
      }),
    removeNode: (id, isForced) =>
      edit(async (client) => {
        const { rows } = await client.query<{ is_removed: boolean }>(
          'select is_removed from nodes where id = $1 for no key update',
          [id],
        )
        const { rows: held } = await client.query<{ index_id: string; project_id: string }>(
          `select p.index_id, i.project_id from placements p join indexes i on i.id = p.index_id
           where p.node_id = $1 and not p.is_gone`,
          [id],
        )
        if (rows[0]?.is_removed !== false) return { result: 'unknown', events: [] }
        if (held.length > 0 && !isForced) return { result: 'holds', events: [] }
        await client.query('update placements set is_gone = true where node_id = $1 and not is_gone', [id])
        await client.query("update nodes set is_removed = true, state = 'lost', index_count = 0 where id = $1", [id])
        await client.query('delete from node_leases where node_id = $1', [id])
        const gone = { entity: 'node' as const, project: null, entityId: id }
        const indexes = held.map(({ index_id, project_id }) => {
          return { entity: 'index' as const, project: project_id, entityId: index_id }
        })
        return { result: 'removed', events: [gone, ...indexes] }
      }),
    setNodeState: (id, state) =>
      edit(async (client) => {
        const { rowCount } = await client.query('update nodes set state = $2 where id = $1 and state <> $2', [
          id,
          state,
        ])
        return { result: undefined, events: rowCount === 1 ? [{ entity: 'node', project: null, entityId: id }] : [] }
      }),
  }
}

function labelsOf({ name, description }: Pick<ApiKey, 'name' | 'description'>): string {
  return JSON.stringify({ name, description })
}

async function insertKey(client: PoolClient, project: Project, key: NewKey, now: number): Promise<ApiKey> {
  const uid = key.uid.toLowerCase()
  const stored: ApiKey = {
    ...key,
    uid,
    project: project.id,
    hash: keyHash(project.masterKey, uid),
    createdAt: now,
    updatedAt: now,
  }
  await client.query(
    `insert into api_keys (project_id, uid, labels, actions, indexes, expires_at, hash, created_at, updated_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $8)`,
    [project.id, uid, labelsOf(key), key.actions, key.indexes, key.expiresAt, stored.hash, now],
  )
  return stored
}
