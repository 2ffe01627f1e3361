/** Access tokens: issuers that a project trusts, and what was revoked. JSON; null = none. */
export const tokenRules = {
  version: 6,
  name: 'token rules',
  sql: 'alter table projects add column token_rules text;',
}
