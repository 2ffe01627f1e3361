/** The placements of an index with those that are gone: generations and revisions count on from them. */
export const placementsEver = {
  version: 27,
  name: 'placements ever',
  sql: `
create index placements_ever on placements (index_id, generation);
`,
}
