/** Gateways that live, so that each allows its share of a rate limit, and operators see them. */
export const gateways = {
  version: 9,
  name: 'gateways',
  sql: `
create table gateways (
  id uuid primary key,
  address text not null,
  version text not null,
  started_at bigint not null,
  -- By the database's clock.
  seen_at bigint not null,
  -- Version of the catalogue that its routes show.
  applied_version bigint not null
);
alter table gateways enable row level security;
do $$
begin
  if (select count(*) from pg_roles where rolname in ('fj_router', 'fj_orchestrator')) = 2 then
    create policy fleet on gateways to fj_router, fj_orchestrator using (true) with check (true);
    grant select, insert, update, delete on gateways to fj_router, fj_orchestrator;
  end if;
end $$;
`,
}
