/** An entity's event replaces its earlier one: the table stays as small as the catalogue. */
export const foldEvents = {
  version: 2,
  name: 'fold events',
  sql: `
delete from catalogue_events e using catalogue_events n
where n.entity_id = e.entity_id and n.entity = e.entity and n.project_id is not distinct from e.project_id
  and n.version > e.version;
create index catalogue_events_entity on catalogue_events (entity_id, entity);
`,
}
