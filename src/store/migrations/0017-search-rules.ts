/** Dynamic search rules of a project, which gateways change in the transaction that appends the task. */
export const searchRules = {
  version: 17,
  name: 'search rules',
  sql: `
alter table projects add column search_rules text;
grant update (search_rules) on projects to fj_router;
`,
}
