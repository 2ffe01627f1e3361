/** What is left of a deleted index on nodes that were away then. */
export const dueDrops = {
  version: 19,
  name: 'due drops',
  sql: `
-- The index is gone, and its node has not deleted its part of it.
alter table placements add column must_drop boolean not null default false;
create index placements_must_drop on placements (node_id) where must_drop;
`,
}
