/** Inserts appended changes: many in one statement. */
import type { PoolClient } from 'pg'
import { taskKindOf } from '../api/tasks.ts'
import type { ProjectId } from '../store/catalogue.ts'
import type { Sealing } from '../store/data-keys.ts'
import { encodeBody, hasSecret, jsonText, sealContexts, sealJson } from './change-row.ts'
import { numberEndings } from './ending-rows.ts'
import { asPart, type Saving } from './index-rows.ts'
import { finishedDetails } from './task-details.ts'
import type { NewChange } from './write-index.ts'

export interface Insertion {
  readonly project: ProjectId
  readonly change: NewChange
}

/**
 * Also writes the projects' next task numbers, and ends at once what no lane will ever deliver.
 *
 * @param saving  what is written in the same round trip.
 * @param token  random, one for the transaction: by it the rows are found again when the connection breaks in the commit.
 */
export async function insertChanges(
  client: PoolClient,
  sealing: Sealing,
  insertions: readonly Insertion[],
  nextTasks: ReadonlyMap<ProjectId, number>,
  token: number,
  saving: Saving | undefined,
): Promise<void> {
  const ended = await numberEnded(client, insertions)
  const secret = insertions.filter(({ change }) => hasSecret(change.operation) || change.deliver !== null)
  const seals = await sealing.ofProjects(
    client,
    secret.map(({ project }) => project),
  )
  const inline = insertions.map(({ change }) => (change.payload?.kind === 'inline' ? change.payload.bytes : null))
  const offsets: (number | null)[] = []
  let byteCount = 0
  for (const bytes of inline) {
    offsets.push(bytes === null ? null : byteCount + 1)
    byteCount += bytes?.byteLength ?? 0
  }
  const column = <T>(value: (change: NewChange, project: ProjectId) => T): T[] =>
    insertions.map(({ change, project }) => value(change, project))
  const beside = asPart(saving, 29)
  await client.query({
    name: saving === undefined ? 'insert-changes' : 'insert-and-save',
    // One binary parameter carries all payloads: as an array they would travel as hexadecimal text.
    text: `with counted as (
        update projects p set next_task = n.next_task from unnest($27::uuid[], $28::bigint[]) as n (id, next_task)
        where p.id = n.id
      ), saved as (
        ${beside.text}
      )
      insert into changes (project_id, task, index_id, position, index_uid, operation, kind, body, secret_sealed, payload,
        blob, byte_count, bytes_through, refusal, primary_key, deliver_sealed, may_create, status, error, details, batch,
        enqueued_at, started_at, finished_at, finish_seq, append_token)
      select c.project_id, c.task, c.index_id, c.position, c.index_uid, c.operation, c.kind, c.body, c.secret,
        case when c.payload_at is null then null else substring($10::bytea from c.payload_at for c.payload_size) end,
        c.blob, c.byte_count, c.bytes_through, c.refusal, c.primary_key, c.deliver, c.may_create, c.status, c.error,
        c.details, c.batch, c.enqueued_at, c.ended_at, c.ended_at, c.finish_seq, $29::bigint
      from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[],
        $9::bytea[], $11::int[], $12::int[], $13::text[], $14::bigint[], $15::bigint[], $16::text[], $17::text[],
        $18::bytea[], $19::boolean[], $20::text[], $21::text[], $22::text[], $23::bigint[], $24::bigint[], $25::bigint[],
        $26::bigint[])
        as c (project_id, task, index_id, position, index_uid, operation, kind, body, secret, payload_at, payload_size, blob,
          byte_count, bytes_through, refusal, primary_key, deliver, may_create, status, error, details, batch, enqueued_at,
          ended_at, finish_seq)`,
    values: [
      column((_, project) => project),
      column((change) => change.task),
      column((change) => change.index?.id ?? null),
      column((change) => change.position),
      column((change) => change.indexUid),
      column((change) => change.operation.kind),
      column((change) => taskKindOf[change.operation.kind]),
      column((change) =>
        encodeBody(
          change.operation,
          change.customMetadata,
          change.naming,
          change.position === 1 ? change.indexUid : null,
        ),
      ),
      column((change, project) =>
        hasSecret(change.operation)
          ? sealJson(seals(project), change.operation, sealContexts.operation(project, change.task))
          : null,
      ),
      Buffer.concat(inline.filter((bytes) => bytes !== null)),
      offsets,
      inline.map((bytes) => bytes?.byteLength ?? null),
      column((change) => (change.payload?.kind === 'blob' ? change.payload.name : null)),
      column((change) => change.byteCount),
      column((change) => change.bytesThrough),
      column((change) => jsonText(change.refusal)),
      column((change) => (change.primaryKey === null ? null : JSON.stringify(change.primaryKey))),
      column((change, project) =>
        change.deliver === null
          ? null
          : sealJson(seals(project), change.deliver, sealContexts.deliver(project, change.task)),
      ),
      column((change) => change.mayCreate),
      column((change) => change.status),
      column((change) => (change.status === 'failed' ? jsonText(change.refusal) : null)),
      column((change) => jsonText(detailsOf(change))),
      column((change) => ended.get(change)?.batch ?? null),
      column((change) => change.enqueuedAt),
      column((change) => (ended.has(change) ? change.enqueuedAt : null)),
      column((change) => ended.get(change)?.finish ?? null),
      [...nextTasks.keys()],
      [...nextTasks.values()],
      token,
      ...beside.values,
    ],
  })
}

function detailsOf(change: NewChange) {
  if (change.status === 'enqueued') return change.details
  return finishedDetails(change.operation, change.details, change.status, null)
}

async function numberEnded(client: PoolClient, insertions: readonly Insertion[]) {
  const numbers = new Map<NewChange, { readonly batch: number; readonly finish: number }>()
  const projects = new Set(insertions.filter(({ change }) => change.status === 'failed').map(({ project }) => project))
  for (const project of [...projects].sort()) {
    const failed = insertions.filter((one) => one.project === project && one.change.status === 'failed')
    const endings = failed.map(({ change }) => ({ batchKey: `task:${change.task}` }))
    const { batches, firstFinish } = await numberEndings(client, project, endings)
    failed.forEach(({ change }, at) => {
      numbers.set(change, { batch: batches.get(`task:${change.task}`) ?? 0, finish: firstFinish + at })
    })
  }
  return numbers
}
