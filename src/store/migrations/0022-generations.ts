/** An index may lie in two ways at once, one of which is read; what changes came to is told by shards of either. */
export const generations = {
  version: 22,
  name: 'generations',
  sql: `
alter table indexes add column generation int not null default 1;
-- JSON {number, spread}; null = there is one generation.
alter table indexes add column beside text;

alter table partial_resolutions add column shard_count int;
update partial_resolutions r set shard_count = (i.spread::json->>'shards')::int from indexes i where i.id = r.index_id;
delete from partial_resolutions where shard_count is null;
alter table partial_resolutions drop constraint partial_resolutions_pkey;
alter table partial_resolutions add primary key (index_id, position, shard_count, shards);
`,
}
