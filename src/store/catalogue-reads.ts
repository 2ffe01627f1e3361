/** The catalogue as a whole, and what changed in it: what route tables are built from. */
import { SealBroken } from '../lib/seal.ts'
import type { CatalogueEvent, Webhook } from './catalogue.ts'
import { decodeEntry, decodeEvent, decodeKey, decodeProject, decodeWebhook, type EntryRow } from './catalogue-rows.ts'
import type { Db } from './database.ts'
import { decodeCredential } from './engine-credentials.ts'
import type { Opener } from './key-ring.ts'
import { decodeNode, type NodeView, selectNodes } from './node-row.ts'
import { decodePlacement } from './placement-row.ts'
import type { CatalogueChange, CatalogueSnapshot } from './ports.ts'

const entryColumns = [
  'id',
  'project_id',
  'read_uid',
  'primary_key',
  'created_at',
  'updated_at',
  'settings_position',
  'spread',
] as const
const keyColumns = [
  'project_id',
  'uid',
  'labels',
  'actions',
  'indexes',
  'expires_at',
  'hash',
  'created_at',
  'updated_at',
] as const
const webhookColumns = ['project_id', 'uuid', 'url', 'headers_sealed', 'is_editable'] as const

/** One snapshot of the database: all of it belongs to one version. */
function atOneVersion<T>(db: Db, read: (tx: Db) => Promise<T>): Promise<T> {
  return db.transaction().setIsolationLevel('repeatable read').setAccessMode('read only').execute(read)
}

export function readSnapshot(db: Db, sealing: Opener, view: NodeView): Promise<CatalogueSnapshot> {
  return atOneVersion(db, async (tx) => {
    const { catalogue_version: version } = await tx
      .selectFrom('instance')
      .select('catalogue_version')
      .executeTakeFirstOrThrow()
    const projects = await tx.selectFrom('projects').selectAll().orderBy('created_at').execute()
    const keys = await tx.selectFrom('api_keys').select(keyColumns).orderBy('seq').execute()
    const indexes = await tx.selectFrom('indexes').select(entryColumns).where('read_uid', 'is not', null).execute()
    const placements = await selectPlacements(tx).execute()
    const nodes = await selectNodes(tx, view).orderBy('id').execute()
    const credentials = await tx.selectFrom('engine_credentials').selectAll().execute()
    const entries = indexes.flatMap((row) => decodeEntry(row) ?? [])
    const readable = new Set(entries.map(({ id }) => id))
    return {
      version,
      projects: projects.map((row) => decodeProject(sealing, row)),
      keys: keys.map(decodeKey),
      indexes: entries,
      placements: placements.filter((row) => readable.has(row.index_id)).map(decodePlacement),
      nodes: nodes.map((row) => decodeNode(sealing, row)),
      credentials: credentials.flatMap((row) => decodeCredential(sealing, row) ?? []),
    }
  })
}

/** Those of the generations that are read: nobody is routed to others. */
function selectPlacements(tx: Db) {
  return tx
    .selectFrom('placements')
    .innerJoin('indexes', 'indexes.id', 'placements.index_id')
    .selectAll('placements')
    .where('placements.is_gone', '=', false)
    .whereRef('placements.generation', '=', 'indexes.generation')
}

/** Events of one entity are folded into its last one: what it is now is read once. */
export async function readChanges(
  db: Db,
  sealing: Opener,
  view: NodeView,
  version: number,
  limit: number,
): Promise<{ readonly version: number; readonly changes: readonly CatalogueChange[] }> {
  // Asked for every second by everyone, and nearly always there is nothing: that costs one look and no transaction.
  const next = await db
    .selectFrom('catalogue_events')
    .select('version')
    .where('version', '>', version)
    .limit(1)
    .execute()
  if (next.length === 0) return { version, changes: [] }
  return atOneVersion(db, async (tx) => {
    const rows = await tx
      .selectFrom('catalogue_events')
      .selectAll()
      .where('version', '>', version)
      .orderBy('version')
      .limit(limit)
      .execute()
    const last = new Map<string, CatalogueEvent>()
    for (const event of rows.map(decodeEvent)) {
      const key = `${event.entity}:${event.project}:${event.entityId}`
      last.delete(key)
      last.set(key, event)
    }
    const events = [...last.values()]
    const find = await finder(tx, sealing, view, events)
    return { version: rows.at(-1)?.version ?? version, changes: events.map(find) }
  })
}

/** Reads what the events are about, one query for each kind of entity. */
async function finder(
  tx: Db,
  sealing: Opener,
  view: NodeView,
  events: readonly CatalogueEvent[],
): Promise<(event: CatalogueEvent) => CatalogueChange> {
  const idsOf = (entity: CatalogueEvent['entity']) =>
    events.filter((event) => event.entity === entity).map(({ entityId }) => entityId)
  const rowsOf = async <Row>(entity: CatalogueEvent['entity'], read: (ids: string[]) => Promise<Row[]>) => {
    const ids = idsOf(entity)
    return ids.length === 0 ? [] : read(ids)
  }
  const projects = await rowsOf('project', (ids) =>
    tx.selectFrom('projects').selectAll().where('id', 'in', ids).execute(),
  )
  const keys = await rowsOf('key', (ids) =>
    tx.selectFrom('api_keys').select(keyColumns).where('uid', 'in', ids).execute(),
  )
  const indexes = await rowsOf<EntryRow>('index', (ids) =>
    tx.selectFrom('indexes').select(entryColumns).where('id', 'in', ids).execute(),
  )
  const placements = await rowsOf('index', (ids) =>
    selectPlacements(tx).where('placements.index_id', 'in', ids).execute(),
  )
  const nodes = await rowsOf('node', (ids) => selectNodes(tx, view).where('id', 'in', ids).execute())
  const credentials = await rowsOf('credential', (ids) =>
    tx.selectFrom('engine_credentials').selectAll().where('id', 'in', ids).execute(),
  )
  const webhooks = await rowsOf('webhook', (ids) =>
    tx.selectFrom('webhooks').select(webhookColumns).where('uuid', 'in', ids).execute(),
  )
  return (event) => {
    switch (event.entity) {
      case 'project': {
        const row = projects.find(({ id }) => id === event.entityId)
        return { event: { ...event, entity: 'project' }, now: row && decodeProject(sealing, row) }
      }
      case 'key': {
        const row = keys.find(({ uid, project_id }) => uid === event.entityId && project_id === event.project)
        return { event: { ...event, entity: 'key' }, now: row && decodeKey(row) }
      }
      case 'index': {
        const row = indexes.find(({ id }) => id === event.entityId)
        const index = row && decodeEntry(row)
        const own = placements.filter(({ index_id }) => index_id === event.entityId)
        return {
          event: { ...event, entity: 'index' },
          now: index && { index, placements: own.map(decodePlacement) },
        }
      }
      case 'node': {
        const row = nodes.find(({ id }) => id === event.entityId)
        return { event: { ...event, entity: 'node' }, now: row && decodeNode(sealing, row) }
      }
      case 'credential': {
        const row = credentials.find(({ id }) => id === event.entityId)
        return { event: { ...event, entity: 'credential' }, now: row && decodeCredential(sealing, row) }
      }
      case 'webhook': {
        const row = webhooks.find(({ uuid, project_id }) => uuid === event.entityId && project_id === event.project)
        return { event: { ...event, entity: 'webhook' }, now: row && readableWebhook(sealing, row) }
      }
    }
  }
}

/** One that does not open is as good as none to whoever follows the catalogue: it must not end the following. */
function readableWebhook(sealing: Opener, row: Parameters<typeof decodeWebhook>[1]): Webhook | undefined {
  try {
    return decodeWebhook(sealing, row)
  } catch (error) {
    if (error instanceof SealBroken) return undefined
    throw error
  }
}
