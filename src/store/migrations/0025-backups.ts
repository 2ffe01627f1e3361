/** Backups of indexes, when they are made, and restores. */
export const backups = {
  version: 25,
  name: 'backups',
  sql: `
create table backups (
  id uuid primary key,
  project_id uuid not null references projects on delete cascade,
  index_id uuid not null references indexes on delete cascade,
  state text not null check (state in ('waiting', 'copying', 'recording', 'done', 'failed', 'deleting')),
  -- Position in the index's journal that it holds, and when that was the last one; null = not known yet.
  position bigint,
  taken_at bigint,
  -- JSON: what nobody asks the database for.
  body text not null,
  -- The key that its parts stand under.
  key_sealed bytea,
  owner text not null default '',
  lease_until bigint not null default 0,
  created_at bigint not null,
  updated_at bigint not null,
  finished_at bigint
);
-- One at a time is made of an index.
create unique index backups_open on backups (index_id) where state in ('waiting', 'copying', 'recording');
create index backups_due on backups (lease_until) where state not in ('done', 'failed');
create index backups_index on backups (index_id, position) where state = 'done';
create index backups_project on backups (project_id);

create table backup_policies (
  project_id uuid not null references projects on delete cascade,
  -- '' = all indexes of the project that have none of their own.
  uid text not null,
  -- JSON.
  body text not null,
  primary key (project_id, uid)
);

create table restores (
  id uuid primary key,
  -- Into which.
  project_id uuid not null references projects on delete cascade,
  -- What is restored.
  index_id uuid not null references indexes on delete cascade,
  state text not null,
  -- What an operator wants of it: cancel, undo, close; null = nothing.
  wish text,
  body text not null,
  owner text not null default '',
  lease_until bigint not null default 0,
  created_at bigint not null,
  updated_at bigint not null,
  finished_at bigint
);
create index restores_due on restores (lease_until) where finished_at is null;
create index restores_project on restores (project_id);

do $$
declare
  name text;
begin
  foreach name in array array['backups', 'backup_policies', 'restores'] loop
    execute format('alter table %I enable row level security', name);
    if (select count(*) from pg_roles where rolname in ('fj_router', 'fj_orchestrator')) = 2 then
      execute format('create policy fleet on %I to fj_router, fj_orchestrator using (true) with check (true)', name);
      execute format('grant select, insert, update, delete on %I to fj_orchestrator', name);
    end if;
  end loop;
end $$;
`,
}
