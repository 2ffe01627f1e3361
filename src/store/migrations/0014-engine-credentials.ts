/** Keys of nodes that gateways hold in place of the nodes' master keys (P-22). */
export const engineCredentials = {
  version: 14,
  name: 'engine credentials',
  sql: `
create table engine_credentials (
  -- 'node/project', or 'node/purpose' for what is of no project.
  id text primary key,
  node_id text not null references nodes on delete cascade,
  project_id uuid references projects on delete cascade,
  -- Of the key on the node; the same number gives the same key there.
  generation int not null,
  key_sealed bytea not null,
  made_at bigint not null
);
create index engine_credentials_node on engine_credentials (node_id);
alter table engine_credentials enable row level security;
do $$
begin
  if (select count(*) from pg_roles where rolname in ('fj_router', 'fj_orchestrator', 'fj_control', 'fj_readonly')) < 4 then
    return;
  end if;
  create policy fleet on engine_credentials to fj_router, fj_orchestrator using (true) with check (true);
  grant select on engine_credentials to fj_router;
  grant select, insert, update, delete on engine_credentials to fj_orchestrator;
end $$;
`,
}
