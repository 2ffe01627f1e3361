/** How an index lies, as the command line shows it. */
import type { LaneJournal } from '../journal/ports.ts'
import type { IndexEntry, IndexId, Node, Placement, Project } from '../store/catalogue.ts'
import type { Catalogue, CatalogueSnapshot } from '../store/ports.ts'
import { CommandFailed } from './exit-codes.ts'
import { formatColumns } from './terminal.ts'

export type IndexView = Awaited<ReturnType<typeof indexView>>

/** What an index is, without where it is. */
export function layoutOf({ uid, primaryKey, spread, createdAt }: IndexEntry) {
  return {
    uid,
    primaryKey,
    /** null = plain. */
    spread: spread === null ? null : { ...spread },
    createdAt: new Date(createdAt).toISOString(),
  }
}

export function placementsByIndex({ placements }: CatalogueSnapshot): ReadonlyMap<IndexId, readonly Placement[]> {
  const byIndex = new Map<IndexId, Placement[]>()
  for (const placement of placements) {
    const known = byIndex.get(placement.index)
    if (known === undefined) byIndex.set(placement.index, [placement])
    else known.push(placement)
  }
  return byIndex
}

/** @throws CommandFailed with exit code 8. */
export async function indexView(
  { catalogue, laneJournal }: { readonly catalogue: Catalogue; readonly laneJournal: Pick<LaneJournal, 'laneOn'> },
  project: Project,
  uid: string,
) {
  const snapshot = await catalogue.snapshot()
  const index = snapshot.indexes.find((one) => one.project === project.id && one.uid === uid)
  if (index === undefined) {
    throw new CommandFailed('notFound', `project \`${project.name}\` has no index \`${uid}\`; \`flapjack index list\``)
  }
  const nodes = new Map(snapshot.nodes.map((node) => [node.id, node]))
  const replicas = await Promise.all(
    snapshot.placements
      .filter((placement) => placement.index === index.id)
      .map(async (placement) => {
        // Newer than the snapshot, which shows `applied` as of the last change of the catalogue.
        const lane = await laneJournal.laneOn(placement.node, placement.physicalUid)
        return replicaView(lane?.placement ?? placement, nodes.get(placement.node), lane?.head ?? placement.applied)
      }),
  )
  replicas.sort((a, b) => a.group - b.group || (a.node < b.node ? -1 : 1))
  return { project: project.ref, ...layoutOf(index), replicas }
}

function replicaView(placement: Placement, node: Node | undefined, head: number) {
  const { shards, physicalUid, state, applied, generation, revision } = placement
  return {
    node: placement.node,
    group: node?.group ?? 0,
    nodeState: node?.state ?? 'lost',
    state,
    shards: [...shards],
    applied,
    head,
    lag: Math.max(0, head - applied),
    physicalUid,
    generation,
    revision,
  }
}

export function indexLines({ project, uid, primaryKey, spread, createdAt, replicas }: IndexView): string {
  const rows = replicas.map((replica) => [
    ...[replica.node, String(replica.group), replica.nodeState, replica.state],
    ...[String(replica.applied), String(replica.lag), rangesText(replica.shards)],
  ])
  const layout =
    spread === null
      ? 'plain: whole on one node'
      : `${spread.shards} shards, ${spread.replicationFactor} copies in a group${spread.exactTies ? '' : ', ties by last write'}`
  return [
    `Index        ${uid} (project ${project})`,
    `Layout       ${layout}`,
    `Primary key  ${primaryKey ?? 'not known yet'}`,
    `Created      ${createdAt}`,
    '',
    formatColumns([['NODE', 'GROUP', 'NODE STATE', 'REPLICA', 'APPLIED', 'LAG', 'SHARDS'], ...rows]),
  ].join('\n')
}

/** As `0-3,7`. */
export function rangesText(ascending: readonly number[]): string {
  const ranges: [number, number][] = []
  for (const number of ascending) {
    const last = ranges.at(-1)
    if (last !== undefined && last[1] === number - 1) last[1] = number
    else ranges.push([number, number])
  }
  return ranges.map(([first, last]) => (first === last ? String(first) : `${first}-${last}`)).join(',')
}
