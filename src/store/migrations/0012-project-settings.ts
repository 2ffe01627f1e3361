/** Whether a project shows values of keys, takes its master key, and which origins and hosts are its own (P-03, P-04). */
export const projectSettings = {
  version: 12,
  name: 'project settings',
  sql: `
alter table projects add column settings text;
`,
}
