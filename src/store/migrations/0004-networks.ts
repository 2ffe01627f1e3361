/** `/network` of each project. Strategies of batches follow from their tasks, so that new rows need none. */
export const networks = {
  version: 4,
  name: 'networks',
  sql: `
create table networks (
  project_id uuid primary key references projects on delete cascade,
  network_sealed bytea not null
);
alter table batches alter column strategy set default '';
`,
}
