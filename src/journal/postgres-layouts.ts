/** How all indexes lie and are wanted to lie, as planning reads it, and edits of what is wanted. */
import type { Spread } from '../store/catalogue.ts'
import { decodeSpread } from '../store/catalogue-rows.ts'
import { type Database, reach } from '../store/database.ts'
import { recordEvents, transact } from '../store/transaction.ts'
import { anyPlace, type IndexLayout, type LayoutReplica, type WantedPlace } from '../topology/index-layout.ts'
import type { LayoutJournal } from './ports.ts'

export function openPostgresLayouts(database: Database, onEdit: () => void): LayoutJournal {
  return {
    async layouts() {
      const { rows } = await reach(() => database.pool.query<LayoutRow>(layoutsText))
      return rows.map(decodeLayout)
    },
    async want(index, { replicationFactor, ...place }) {
      const isThere = await transact(database, async (client) => {
        const { rows } = await client.query<{ project_id: string; spread: string | null; wanted: string | null }>(
          'select project_id, spread, wanted from indexes where id = $1 and not is_gone for no key update',
          [index],
        )
        const [row] = rows
        if (row === undefined) return false
        const spread = decodeSpread(row.spread)
        const after: Spread | null = spread && {
          ...spread,
          replicationFactor: replicationFactor ?? spread.replicationFactor,
        }
        const wanted = { ...wantedOf(row.wanted), ...place }
        await client.query('update indexes set spread = $2, wanted = $3 where id = $1', [
          ...[index, after && JSON.stringify(after), JSON.stringify(wanted)],
        ])
        await recordEvents(client, [{ entity: 'index', project: row.project_id, entityId: index }])
        return true
      })
      if (isThere) onEdit()
      return isThere
    },
  }
}

interface LayoutRow {
  readonly id: string
  readonly uid: string
  readonly project_id: string
  readonly spread: string | null
  readonly wanted: string | null
  readonly byte_count: number
  readonly replicas: readonly LayoutReplica[] | null
}

/** One whose generations are two is in other hands. */
const layoutsText = `select i.id, i.read_uid as uid, i.project_id, i.spread, i.wanted, i.byte_count, (
    select json_agg(json_build_object('node', p.node_id, 'physicalUid', p.physical_uid, 'shards', p.shards, 'shed', p.shed,
      'state', p.state) order by p.node_id, p.physical_uid)
    from placements p where p.index_id = i.id and not p.is_gone and p.generation = i.generation
  ) as replicas
  from indexes i where i.read_uid is not null and not i.is_gone and i.beside is null order by i.id`

function decodeLayout({ id, uid, project_id, spread, wanted, byte_count, replicas }: LayoutRow): IndexLayout {
  return {
    ...{ index: id, uid, project: project_id, byteCount: byte_count, replicas: replicas ?? [] },
    spread: decodeSpread(spread),
    wanted: wantedOf(wanted),
  }
}

function wantedOf(text: string | null): WantedPlace {
  return text === null ? anyPlace : { ...anyPlace, ...(JSON.parse(text) as Partial<WantedPlace>) }
}
