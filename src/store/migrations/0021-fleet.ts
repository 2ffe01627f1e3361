/** Machines behind nodes, what became of them and what they carried. */
export const fleet = {
  version: 21,
  name: 'fleet',
  sql: `
create table machines (
  -- Not a reference: a machine is there before its node is, and its id is never given again.
  node_id text primary key,
  driver text not null,
  life text not null,
  engine text not null,
  region text not null,
  replica_group int not null,
  generation int not null,
  health text not null,
  health_since bigint not null,
  -- JSON.
  record text not null,
  -- What an operator wants of it: restart, replace, drain, keep; null = nothing.
  wish text,
  created_at bigint not null
);

create table fleet_keeper (
  id int primary key check (id = 1),
  owner text not null,
  -- By the database's clock.
  until bigint not null,
  epoch bigint not null,
  mode text not null,
  -- Why nothing is done until a person releases it; null = nothing stands against it.
  halted text,
  scaled_at bigint
);

create table node_events (
  id bigserial primary key,
  -- null = of the whole fleet.
  node_id text,
  at bigint not null,
  kind text not null,
  text text not null
);
create index node_events_node on node_events (node_id, id);

create table node_samples (
  node_id text not null,
  at bigint not null,
  -- JSON.
  figures text not null,
  primary key (node_id, at)
);

do $$
declare t text;
begin
  foreach t in array array['machines', 'fleet_keeper', 'node_events', 'node_samples'] loop
    execute format('alter table %I enable row level security', t);
    if (select count(*) from pg_roles where rolname in ('fj_router', 'fj_orchestrator')) = 2 then
      execute format('create policy fleet on %I to fj_router, fj_orchestrator using (true) with check (true)', t);
      execute format('grant select, insert, update, delete on %I to fj_orchestrator', t);
    end if;
  end loop;
  if (select count(*) from pg_roles where rolname = 'fj_orchestrator') = 1 then
    grant usage on sequence node_events_id_seq to fj_orchestrator;
  end if;
end $$;
`,
}
