/** A replica is one physical index: a node may hold several of one index, with other shards or while one takes another's place. */
export const physicalReplicas = {
  version: 20,
  name: 'physical replicas',
  sql: `
alter table placements drop constraint placements_pkey;
alter table placements drop constraint placements_node_id_physical_uid_key;
alter table placements add primary key (node_id, physical_uid);
create index placements_index on placements (index_id) where not is_gone;

alter table reports add column physical_uid text;
update reports r set physical_uid = p.physical_uid from placements p
where p.index_id = r.index_id and p.generation = r.generation and p.node_id = r.node_id;
delete from reports where physical_uid is null;
alter table reports drop constraint reports_pkey;
alter table reports drop column generation;
alter table reports add primary key (index_id, position, node_id, physical_uid);
`,
}
