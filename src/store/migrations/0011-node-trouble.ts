/** Why a node takes no writes, as its lanes found out; null = it does. */
export const nodeTrouble = {
  version: 11,
  name: 'node trouble',
  sql: `
alter table node_leases add column trouble text;
`,
}
