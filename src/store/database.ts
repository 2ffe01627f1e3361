/** The connection to PostgreSQL: pool, parsers, time-outs, and what its failures mean. */
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { StoreUnavailable } from './ports.ts'
import type { PostgresConnection } from './postgres-server.ts'
import type { Tables } from './tables.ts'

/** The time of the database, milliseconds since 1970, as an expression: processes need not agree on the time. */
export const nowMs = '(extract(epoch from clock_timestamp()) * 1000)::bigint'

export interface StoreLogger {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export type DatabaseTarget =
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'postgres'; readonly connection: PostgresConnection }

export type Db = Kysely<Tables>

export interface Database {
  /** Typed queries. Wrap calls in `reach`. */
  readonly db: Db
  /** Plain statements, for the few places where their number and order are the point. */
  readonly pool: pg.Pool
  readonly clientConfig: pg.ClientConfig
  close(): Promise<void>
}

const connectMsMax = 5_000
/** A statement that takes longer is stuck: the largest rewrite (names of a million tasks) takes seconds. */
const statementMsMax = 60_000
/** A server that says nothing for this long while a client waits counts as away: stopped, or cut off without a reset. */
const silenceMsMax = 10_000

/** Connects lazily. `connectionCountMax` bounds the pool; waiters beyond it queue. */
export function openDatabase(
  target: DatabaseTarget,
  options: { readonly connectionCountMax: number; readonly logger: StoreLogger },
): Database {
  const clientConfig: pg.ClientConfig = {
    ...addressOf(target),
    application_name: 'flapjack',
    connectionTimeoutMillis: connectMsMax,
    statement_timeout: statementMsMax,
    // The server's own limit does not help when it is the server that is stuck.
    query_timeout: statementMsMax + connectMsMax,
    idle_in_transaction_session_timeout: statementMsMax,
    keepAlive: true,
    types: { getTypeParser },
  }
  const pool = new pg.Pool({ ...clientConfig, max: options.connectionCountMax, idleTimeoutMillis: 60_000 })
  // An idle connection that breaks is replaced at the next use; without a listener it would end the process.
  let isClosing = false
  pool.on('error', (error) => {
    // At the end the server may hang up before we have finished saying goodbye.
    if (!isClosing) options.logger.warn({ err: error }, 'an idle database connection broke')
  })
  // The pool does not listen while a connection is lent out; one that breaks between two queries fails at the next one.
  pool.on('connect', (client) => client.on('error', () => undefined))
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) })
  const close = () => {
    isClosing = true
    return db.destroy()
  }
  return { db, pool, clientConfig, close }
}

/** int8 as number: positions, counts and milliseconds stay far below 2^53. */
function getTypeParser(oid: number, format?: 'text' | 'binary') {
  if (oid === pg.types.builtins.INT8) return Number
  return format === 'binary' ? pg.types.getTypeParser(oid, 'binary') : pg.types.getTypeParser(oid, 'text')
}

function addressOf(target: DatabaseTarget): pg.ClientConfig {
  if (target.kind === 'url') return { connectionString: target.url }
  const { host, port, user, password, database } = target.connection
  return { host, port, user, database, ...(password === null ? {} : { password }) }
}

/** Runs a piece of work against the database and turns what says "away" or "full" into `StoreUnavailable`. */
export async function reach<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw asUnavailable(error)
  }
}

/** As `reach`, for what a client waits for. What was asked may still happen after the answer: only for reads. */
export function reachInTime<T>(work: () => Promise<T>): Promise<T> {
  return reach(() => inTime(work()))
}

/** The work's own result, or `StoreUnavailable` when the server is silent for too long; the work itself goes on. */
export async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new StoreUnavailable('the store does not answer')), silenceMsMax)
  })
  try {
    return await Promise.race([work, silence])
  } finally {
    clearTimeout(timer)
  }
}

/** The error itself when it is not about availability. */
export function asUnavailable(error: unknown): unknown {
  if (error instanceof StoreUnavailable || !(error instanceof Error)) return error
  return isAway(error) ? new StoreUnavailable(`the store is not available: ${error.message}`, { cause: error }) : error
}

const systemCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOENT',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENOSPC',
  'EDQUOT',
  'EROFS',
])
/** Connection exceptions, lack of resources (53100: disk full), operator intervention, system errors, read-only, recovery. */
const stateClasses = ['08', '53', '57', '58', 'XX']
const stateCodes = new Set(['25006', '55000', '40001', '40P01', '25P03'])

function isAway(error: Error): boolean {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  if (code === undefined) {
    return /terminated|read timeout|timeout exceeded|timeout expired|not queryable|Connection ended|closed the connection|after calling end/i.test(
      error.message,
    )
  }
  return systemCodes.has(code) || stateCodes.has(code) || (code.length === 5 && stateClasses.includes(code.slice(0, 2)))
}

/** Deadlock or serialization failure: the transaction did nothing and may run again. */
export function isConflict(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === '40001' || error.code === '40P01')
}
