/** Replicas that move from node to node. */
export const moves = {
  version: 16,
  name: 'moves',
  sql: `
alter table placements drop constraint placements_state_check;
alter table placements add check (
  state in ('copying', 'standby', 'filling', 'joining', 'active', 'parting', 'draining', 'leaving', 'lost'));

create table moves (
  id uuid primary key,
  project_id uuid not null references projects on delete cascade,
  index_id uuid not null references indexes on delete cascade,
  source_node text not null references nodes,
  target_node text not null references nodes,
  step text not null,
  -- What an operator wants of it: cancel, undo, close; null = nothing.
  wish text,
  is_paused boolean not null default false,
  -- JSON.
  options text not null,
  -- JSON: how far the step is.
  progress text not null,
  -- Why it does not get on, or why it ended; null = nothing is wrong.
  failure text,
  owner text not null default '',
  lease_until bigint not null default 0,
  created_at bigint not null,
  updated_at bigint not null,
  finished_at bigint
);
-- One open move per index.
create unique index moves_open on moves (index_id) where finished_at is null;
create index moves_due on moves (lease_until) where finished_at is null;
create index moves_project on moves (project_id);

do $$
begin
  execute 'alter table moves enable row level security';
  if (select count(*) from pg_roles where rolname in ('fj_router', 'fj_orchestrator')) = 2 then
    create policy fleet on moves to fj_router, fj_orchestrator using (true) with check (true);
    grant select, insert, update, delete on moves to fj_orchestrator;
    grant select on moves to fj_router;
  end if;
end $$;
`,
}
