/** Where operators want indexes, and which nodes take part in that: desired state, which the reconciler compares with placements. */
export const wantedPlaces = {
  version: 26,
  name: 'wanted places',
  sql: `
-- Indexes that exist may come to it.
alter table nodes add column takes_existing boolean not null default false;
-- The id by which it is ranked for shards: of the node whose place it took; null = its own.
alter table nodes add column seat text;
-- It is gone; its id is not used again.
alter table nodes add column is_removed boolean not null default false;
-- JSON {groups, region}; null = wherever planning puts it.
alter table indexes add column wanted text;
`,
}
