/**
 * Roles of the database and who sees which rows (P-26). The program itself is the owner, whom policies do not bind; they are
 * for connections that are not: `set role fj_control; set app.user_id = '…'` sees what that person's memberships show.
 *
 * A server on which we may not make roles, and that has none of these names, gets the policies of nobody: everybody but the
 * owner sees nothing. Whoever makes the roles there before the first start gets the rest.
 */
export const rowSecurity = {
  version: 8,
  name: 'row security',
  sql: `
create table memberships (
  organisation_id uuid not null references organisations on delete cascade,
  user_id uuid not null,
  role text not null check (role in ('owner', 'admin', 'developer', 'billing', 'viewer')),
  -- null = all projects of the organisation.
  project_ids uuid[],
  created_at bigint not null,
  primary key (organisation_id, user_id)
);
create index memberships_user on memberships (user_id);

create function flapjack_user() returns uuid language sql stable
  return nullif(current_setting('app.user_id', true), '')::uuid;

-- As the owner, since projects and memberships are under policies themselves.
create function flapjack_sees_project(project uuid) returns boolean
  language sql stable security definer set search_path from current
as $$
  select exists (
    select 1 from projects join memberships using (organisation_id)
    where projects.id = project and user_id = flapjack_user() and (project_ids is null or project = any(project_ids))
  )
$$;

create function flapjack_sees_organisation(organisation uuid) returns boolean
  language sql stable security definer set search_path from current
as $$
  select exists (select 1 from memberships where organisation_id = organisation and user_id = flapjack_user())
$$;

-- By the names that the first plans of the product used.
create view meilisearch_vms with (security_invoker = true) as
  select id, engine, url, region, state as status, index_count from nodes;
create view api_key_permissions with (security_invoker = true) as
  select project_id, uid, actions as permissions, indexes as logical_index_access_pattern, expires_at from api_keys;

do $$
declare
  roles constant text[] := array['fj_router', 'fj_orchestrator', 'fj_control', 'fj_readonly'];
  -- What of a row tells whose it is.
  owned constant text[][] := array[
    ['organisations', 'flapjack_sees_organisation(id)'],
    ['memberships', 'flapjack_sees_organisation(organisation_id)'],
    ['projects', 'flapjack_sees_project(id)'],
    ['placements', 'exists (select 1 from indexes where indexes.id = index_id and flapjack_sees_project(indexes.project_id))'],
    ['project_progress', ''], ['api_keys', ''], ['indexes', ''], ['changes', ''], ['batches', ''], ['waits', ''],
    ['deletion_waits', ''], ['project_work', ''], ['feed_cursors', ''], ['webhooks', ''], ['networks', ''],
    ['catalogue_events', '']
  ];
  fleet constant text[] := array['instance', 'schema_versions', 'nodes', 'node_leases', 'data_keys'];
  name text;
  seen text;
  columns text;
begin
  for at in 1 .. array_length(owned, 1) loop
    execute format('alter table %I enable row level security', owned[at][1]);
  end loop;
  foreach name in array fleet loop
    execute format('alter table %I enable row level security', name);
  end loop;

  foreach name in array roles loop
    if not exists (select 1 from pg_roles where rolname = name) then
      begin
        execute format('create role %I nologin', name);
      exception
        when duplicate_object or unique_violation then null;
        when insufficient_privilege then raise notice 'role % cannot be made', name;
      end;
    end if;
  end loop;
  if (select count(*) from pg_roles where rolname = any(roles)) < array_length(roles, 1) then
    return;
  end if;

  for at in 1 .. array_length(owned, 1) loop
    name := owned[at][1];
    seen := case owned[at][2] when '' then 'flapjack_sees_project(project_id)' else owned[at][2] end;
    execute format('create policy fleet on %I to fj_router, fj_orchestrator using (true) with check (true)', name);
    execute format('create policy members on %I to fj_control using (%s) with check (%s)', name, seen, seen);
    execute format('create policy reading on %I for select to fj_readonly using (true)', name);
    execute format('grant select, insert, update, delete on %I to fj_orchestrator, fj_control', name);
  end loop;
  -- Who belongs to an organisation is not for whoever merely belongs to it to change.
  revoke insert, update, delete on memberships, organisations from fj_control;
  foreach name in array fleet loop
    execute format('create policy fleet on %I to fj_router, fj_orchestrator using (true) with check (true)', name);
    execute format('grant select, insert, update, delete on %I to fj_orchestrator', name);
  end loop;
  create policy reading on nodes for select to fj_readonly using (true);

  -- A gateway reads routes and keys, appends to the journal, and edits what the API lets customers edit.
  grant select on organisations, projects, project_progress, api_keys, indexes, placements, nodes, instance, data_keys,
    schema_versions, changes, batches, waits, deletion_waits, project_work, feed_cursors, webhooks, networks,
    catalogue_events to fj_router;
  grant insert, update on changes, indexes, placements, project_progress, batches, waits, deletion_waits, project_work,
    networks, webhooks, api_keys, catalogue_events to fj_router;
  grant delete on waits, deletion_waits, project_work, webhooks, api_keys, catalogue_events to fj_router;
  grant update (features, token_rules, next_task, state) on projects to fj_router;
  grant update (index_count) on nodes to fj_router;
  grant update (catalogue_version) on instance to fj_router, fj_control;
  create policy versions on instance to fj_control using (true);
  grant select (id, catalogue_version) on instance to fj_control;

  -- Reports: everything but secrets and what customers sent.
  for name, columns in
    select table_name, string_agg(format('%I', column_name), ', ') from information_schema.columns
    where table_schema = current_schema() and data_type <> 'bytea'
      and column_name not in ('hash', 'body', 'blob', 'token_rules')
      and (table_name = 'nodes' or table_name = any(array(select owned[at][1] from generate_series(1, array_length(owned, 1)) at)))
    group by table_name
  loop
    execute format('grant select (%s) on %I to fj_readonly', columns, name);
  end loop;
end $$;
`,
}
