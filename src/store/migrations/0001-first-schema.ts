/** Catalogue, journal, leases. */
export const firstSchema = {
  version: 1,
  name: 'first schema',
  sql: `
create table instance (
  id int primary key check (id = 1),
  canary_sealed bytea not null,
  catalogue_version bigint not null default 0,
  created_at bigint not null
);

create table organisations (
  id uuid primary key,
  name text not null,
  created_at bigint not null
);

create table projects (
  id uuid primary key,
  organisation_id uuid not null references organisations,
  ref text not null unique check (ref ~ '^[a-z][a-z0-9]{11}$'),
  name text not null,
  state text not null check (state in ('active', 'read_only', 'suspended', 'deleting')),
  master_key_sealed bytea not null,
  features text not null default '{}',
  next_task bigint not null default 0,
  created_at bigint not null
) with (fillfactor = 50);
create unique index projects_name on projects (organisation_id, lower(name));

create table project_progress (
  project_id uuid primary key references projects on delete cascade,
  next_batch bigint not null default 0,
  next_finish bigint not null default 1
) with (fillfactor = 50);

create table api_keys (
  seq bigint generated always as identity,
  project_id uuid not null references projects on delete cascade,
  uid uuid not null,
  labels text not null,
  actions text[] not null,
  indexes text[] not null,
  expires_at bigint,
  hash text not null unique,
  created_at bigint not null,
  updated_at bigint not null,
  primary key (project_id, uid)
);

create table nodes (
  id text primary key,
  engine text not null check (engine in ('embedded', 'meilisearch')),
  url text not null,
  region text not null,
  state text not null check (state in ('active', 'draining', 'lost')),
  key_sealed bytea,
  index_count int not null default 0,
  marker text,
  since_epoch bigint not null default 0
);

create table node_leases (
  node_id text primary key references nodes on delete cascade,
  owner text not null,
  epoch bigint not null,
  until bigint not null
);

create table indexes (
  id uuid primary key,
  project_id uuid not null references projects,
  write_uid text,
  read_uid text,
  named_by bigint not null,
  write_primary_key text,
  primary_key text,
  created_at bigint,
  updated_at bigint,
  head bigint not null default 0,
  completed bigint not null default 0,
  byte_count bigint not null default 0,
  behind_since bigint,
  settings_version bigint not null default 0,
  settings_sealed bytea,
  settings_done_sealed bytea,
  may_hold_documents boolean not null default false,
  is_gone boolean not null default false,
  check (completed <= head)
) with (fillfactor = 50);
create unique index indexes_write_uid on indexes (project_id, write_uid) where write_uid is not null;
create unique index indexes_read_uid on indexes (project_id, read_uid) where read_uid is not null;
create index indexes_behind on indexes (behind_since) where behind_since is not null;

create table placements (
  index_id uuid not null references indexes on delete cascade,
  generation int not null,
  shard int not null,
  node_id text not null references nodes,
  physical_uid text not null,
  state text not null check (state in ('filling', 'active', 'draining', 'lost')),
  applied bigint not null default 0,
  applied_bytes bigint not null default 0,
  proof_task bigint,
  proof_mark text,
  is_gone boolean not null default false,
  primary key (index_id, generation, shard, node_id),
  unique (node_id, physical_uid)
) with (fillfactor = 50);
create index placements_proof on placements (node_id, proof_task desc) where proof_task is not null;

create table changes (
  project_id uuid not null,
  task bigint not null,
  index_id uuid,
  position bigint,
  index_uid text,
  operation text not null,
  kind text not null,
  body text not null,
  secret_sealed bytea,
  payload bytea,
  blob text,
  byte_count bigint not null default 0,
  bytes_through bigint not null default 0,
  refusal text,
  resolution text,
  resolution_puts bytea,
  resolution_deletes bytea,
  primary_key text,
  deliver_sealed bytea,
  may_create boolean not null default false,
  status text not null check (status in ('enqueued', 'processing', 'succeeded', 'failed', 'canceled')),
  error text,
  details text,
  batch bigint,
  canceled_by bigint,
  enqueued_at bigint not null,
  started_at bigint,
  finished_at bigint,
  finish_seq bigint,
  is_hidden boolean not null default false,
  primary key (project_id, task),
  check ((index_id is null) = (position is null)),
  check ((finished_at is null) = (status in ('enqueued', 'processing')))
);
alter table changes alter column payload set storage external;
create unique index changes_position on changes (index_id, position) where index_id is not null;
create index changes_open on changes (project_id, task) where finished_at is null;
create index changes_index_uid on changes (project_id, index_uid, task);
create index changes_finish on changes (project_id, finish_seq) where finish_seq is not null;
create index changes_batch on changes (project_id, batch) where batch is not null;
create index changes_retained on changes (finished_at)
  where finished_at is not null and (payload is not null or blob is not null or resolution is not null);
create index changes_blob on changes (blob) where blob is not null;

create table batches (
  project_id uuid not null,
  uid bigint not null,
  key text not null,
  strategy text not null,
  primary key (project_id, uid),
  unique (project_id, key)
);

create table waits (
  project_id uuid not null,
  task bigint not null,
  index_id uuid not null,
  position bigint not null,
  primary key (project_id, task, index_id)
);
create index waits_index on waits (index_id);

create table project_work (
  project_id uuid not null,
  task bigint not null,
  enqueued_at bigint not null,
  owner text,
  until bigint not null,
  primary key (project_id, task)
);

create table feed_cursors (
  consumer text not null,
  project_id uuid not null,
  cursor bigint not null,
  primary key (consumer, project_id)
);

create table webhooks (
  seq bigint generated always as identity,
  project_id uuid not null references projects on delete cascade,
  uuid uuid not null,
  url text not null,
  headers_sealed bytea not null,
  is_editable boolean not null,
  primary key (project_id, uuid)
);

create table catalogue_events (
  version bigint primary key,
  entity text not null,
  project_id uuid,
  entity_id text not null
);
`,
}
