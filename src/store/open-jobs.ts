import type { Pool } from 'pg'
import { reach } from './database.ts'

const isOpen = {
  moves: 'finished_at is null',
  restores: 'finished_at is null',
  backups: "state not in ('done', 'failed')",
} as const

/**
 * Whether a worker has anything to claim. Every worker asks this again and again, and nearly always there is nothing: the
 * question is planned once for a connection and answered by the index of the open ones; to claim is a long statement.
 */
export async function isAnyOpen(pool: Pool, table: keyof typeof isOpen): Promise<boolean> {
  const { rows } = await reach(() =>
    pool.query({ name: `open-${table}`, text: `select 1 from ${table} where ${isOpen[table]} limit 1` }),
  )
  return rows.length > 0
}
