/** Replicas of a spread index take settings changes in turns, so that reads find replicas that agree. */
export const settingsTurns = {
  version: 18,
  name: 'settings turns',
  sql: `
-- Position of the settings change that the replica's turn is about; 0 = none.
alter table placements add column turn_position bigint not null default 0;
-- lead, follow, late or undo; null = no turn.
alter table placements add column turn_role text;
-- When it was given, milliseconds since 1970.
alter table placements add column turned_at bigint;
`,
}
