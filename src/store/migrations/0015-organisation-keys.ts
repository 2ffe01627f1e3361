/** Data keys of organisations: what belongs to one stands under a key of its own (P-26). */
export const organisationKeys = {
  version: 15,
  name: 'organisation keys',
  sql: `
-- null = the installation's: for what belongs to no organisation.
alter table data_keys add column organisation_id uuid references organisations on delete cascade;
-- Rises in the order in which keys become visible, so that a process reads the new ones only.
alter table data_keys add column version bigint generated always as identity;
create unique index data_keys_version on data_keys (version);
create index data_keys_organisation on data_keys (organisation_id);
-- Whether what was sealed before organisations had keys stands under theirs by now.
alter table instance add column secrets_placed boolean not null default false;
`,
}
