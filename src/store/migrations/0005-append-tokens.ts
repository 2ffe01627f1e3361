/**
 * Whose row a change is. After a crash PostgreSQL gives numbers of transactions that left no trace to others, so the status
 * of a number does not tell whether an append was committed; the row with its token does.
 */
export const appendTokens = {
  version: 5,
  name: 'append tokens',
  sql: 'alter table changes add column append_token bigint not null default 0;',
}
