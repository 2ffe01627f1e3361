/** Deletions of tasks wait for the matched tasks that an engine was working on when they were asked for. */
export const deletionWaits = {
  version: 3,
  name: 'deletion waits',
  sql: `
alter table project_progress add column waiting_deletions bigint not null default 0;
create table deletion_waits (
  project_id uuid not null references projects on delete cascade,
  task bigint not null,
  awaited bigint not null,
  primary key (project_id, task, awaited)
);
`,
}
