/** Moves of some shards of a replica, of shards of several replicas, copies that leave their sources as they are, and removals. */
export const partialMoves = {
  version: 23,
  name: 'partial moves',
  sql: `
-- Shards that are read elsewhere: held, and not read here.
alter table placements add column shed int[] not null default '{}';
-- It gave shards up whose documents its lane has not taken away.
alter table placements add column has_leftovers boolean not null default false;

alter table moves add column kind text not null default 'move' check (kind in ('move', 'copy', 'removal', 'reshard'));
-- JSON: what is taken from which replicas.
alter table moves add column takes text not null default '[]';
update moves m set takes = json_build_array(json_build_object(
  'node', p.node_id, 'physicalUid', p.physical_uid, 'shards', p.shards))::text
from placements p where p.index_id = m.index_id and p.node_id = m.source_node and not p.is_gone and m.finished_at is null;
`,
}
