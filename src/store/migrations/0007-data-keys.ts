/** Keys of rows, each sealed under the operator's key, so that this one can be replaced without touching a row. */
export const dataKeys = {
  version: 7,
  name: 'data keys',
  sql: `
create table data_keys (
  id text primary key,
  wrapped bytea not null,
  usable_from bigint not null,
  -- When it was sealed under another key than at first; null = never.
  rewrapped_at bigint,
  created_at bigint not null
);
`,
}
