/**
 * Indexes over many nodes. A placement is one replica: a set of shards of an index in one physical index on one node. What
 * replicas report of changes that are not complete yet, and what parts of an index resolved a change to, have tables of
 * their own, which plain indexes never touch.
 */
export const spreadIndexes = {
  version: 13,
  name: 'spread indexes',
  sql: `
alter table nodes add column replica_group int not null default 0 check (replica_group >= 0);
-- JSON; null = unknown.
alter table nodes add column capacity text;
-- Since when the node does not answer its dispatcher; null = it does.
alter table nodes add column silent_since bigint;

-- JSON; null = plain: one shard on one node, nothing of ours in its documents.
alter table indexes add column spread text;
-- Position of the last settings change that is completed; 0 = none.
alter table indexes add column settings_position bigint not null default 0;
-- Since when some replica holds back what others have applied; null = none does.
alter table indexes add column held_since bigint;
create index indexes_held on indexes (held_since) where held_since is not null;

alter table placements add column shards int[] not null default '{0}';
-- Rises whenever the replica is put back to the beginning.
alter table placements add column revision int not null default 0;
-- JSON: how the node showed its settings behind the last change of them; null = nobody looked yet.
alter table placements add column settings_print text;
alter table placements drop constraint placements_pkey;
alter table placements drop column shard;
alter table placements add primary key (index_id, generation, node_id);

create table reports (
  index_id uuid not null references indexes on delete cascade,
  position bigint not null,
  generation int not null,
  node_id text not null references nodes on delete cascade,
  outcome text not null,
  primary key (index_id, position, generation, node_id)
);

create table partial_resolutions (
  index_id uuid not null references indexes on delete cascade,
  position bigint not null,
  shards int[] not null,
  resolution text not null,
  puts bytea,
  deletes bytea,
  primary key (index_id, position, shards)
);

do $$
declare
  name text;
begin
  foreach name in array array['reports', 'partial_resolutions'] loop
    execute format('alter table %I enable row level security', name);
    if (select count(*) from pg_roles where rolname in ('fj_router', 'fj_orchestrator')) = 2 then
      execute format('create policy fleet on %I to fj_router, fj_orchestrator using (true) with check (true)', name);
      execute format('grant select, insert, update, delete on %I to fj_orchestrator', name);
    end if;
  end loop;
end $$;
`,
}
