/** Transactions of plain statements, and the version of the catalogue that they raise. */
import type { PoolClient } from 'pg'
import { assert } from '../lib/assert.ts'
import type { CatalogueEvent } from './catalogue.ts'
import { type Database, isConflict, reach } from './database.ts'

const triesMax = 5

/** Runs `work` in one transaction; after a deadlock or serialization failure again, so it must not keep anything outside. */
export function transact<T>(database: Database, work: (client: PoolClient) => Promise<T>): Promise<T> {
  return againAfterConflict(() =>
    tryOnce(database, async (client) => {
      await client.query('begin')
      return work(client)
    }),
  )
}

/** The same, with a first statement that goes to the server together with the beginning; `work` gets its row count. */
export function transactBehind<T>(
  database: Database,
  first: (client: PoolClient) => string,
  work: (client: PoolClient, rowCount: number) => Promise<T>,
): Promise<T> {
  return againAfterConflict(() =>
    tryOnce(database, async (client) => {
      const results: unknown = await client.query(`begin;\n${first(client)}`)
      assert(Array.isArray(results) && results.length === 2, 'each statement has a result')
      return work(client, Number(results[1].rowCount ?? 0))
    }),
  )
}

/** Runs a transaction, or a statement that is one by itself; after a deadlock or serialization failure again. */
export async function againAfterConflict<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await reach(work)
    } catch (error) {
      const cause = error instanceof Error ? error.cause : undefined
      if (attempt >= triesMax || !(isConflict(error) || isConflict(cause))) throw error
    }
  }
}

async function tryOnce<T>(database: Database, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await database.pool.connect()
  try {
    const result = await work(client)
    await client.query('commit')
    client.release()
    return result
  } catch (error) {
    await client.query('rollback').then(
      () => client.release(),
      (broken: Error) => client.release(broken),
    )
    throw error
  }
}

/**
 * Writes events behind the newest version, in place of earlier ones of the same entities: whoever reads from before those
 * needs to know only what the entity is now. The last statement of a transaction: it locks the version's row until the
 * commit, so that versions have no gaps and become visible in order.
 */
export async function recordEvents(
  client: PoolClient,
  events: readonly Omit<CatalogueEvent, 'version'>[],
): Promise<void> {
  if (events.length === 0) return
  await client.query(
    `with version as (
       update instance set catalogue_version = catalogue_version + $1 where id = 1 returning catalogue_version - $1 as base
     ), replaced as (
       delete from catalogue_events e
       using unnest($2::text[], $3::uuid[], $4::text[]) as event (entity, project_id, entity_id)
       where e.entity_id = event.entity_id and e.entity = event.entity
         and e.project_id is not distinct from event.project_id
     )
     insert into catalogue_events (version, entity, project_id, entity_id)
     select version.base + event.number, event.entity, event.project_id, event.entity_id
     from version, unnest($2::text[], $3::uuid[], $4::text[]) with ordinality
       as event (entity, project_id, entity_id, number)`,
    [
      events.length,
      events.map((event) => event.entity),
      events.map((event) => event.project),
      events.map((event) => event.entityId),
    ],
  )
}
