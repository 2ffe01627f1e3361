/** Indexes whose replicas are compared in the background. */
export const replicaChecks = {
  version: 24,
  name: 'replica checks',
  sql: `
create table replica_checks (
  index_id uuid primary key references indexes on delete cascade,
  -- JSON: replicas that differed the last time.
  findings text not null default '[]',
  due_at bigint not null default 0,
  checked_at bigint,
  owner text not null default '',
  lease_until bigint not null default 0
);

do $$
begin
  execute 'alter table replica_checks enable row level security';
  if (select count(*) from pg_roles where rolname in ('fj_router', 'fj_orchestrator')) = 2 then
    create policy fleet on replica_checks to fj_router, fj_orchestrator using (true) with check (true);
    grant select, insert, update, delete on replica_checks to fj_orchestrator;
    grant select on replica_checks to fj_router;
  end if;
end $$;
`,
}
