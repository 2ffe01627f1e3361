/** Chat workspaces of each project, beside the other thing that a project keeps for itself alone. */
export const chats = {
  version: 10,
  name: 'chats',
  sql: `
alter table networks add column chats_sealed bytea;
`,
}
