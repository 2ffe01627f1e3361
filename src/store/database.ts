/** The connection to PostgreSQL: pool, parsers, time-outs, and what its failures mean. */
export interface StoreLogger {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}
