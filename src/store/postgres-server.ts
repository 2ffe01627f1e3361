/** The bundled PostgreSQL as a child process: one server for one data folder. */

/** How to reach a server. `host` is a folder when the server listens on a unix socket. */
export interface PostgresConnection {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string | null
  readonly database: string
}

export interface PostgresServer {
  readonly connection: PostgresConnection
  readonly pid: number
  /** Major version, for example 18. */
  readonly major: number
  /** Settles when the server ends, whoever ended it. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
  /** SIGINT (fast shutdown); SIGKILL after 10 seconds. Close the pools first. Safe to call twice. */
  stop(): Promise<void>
}

/** What to tell the person who started us: no binaries, wrong major version, unreachable folder. */
export class PostgresUnusable extends Error {
  override readonly name = 'PostgresUnusable'
}

export declare function startPostgres(options: {
  /** Created when missing. Holds data, socket, log and the major version. */
  readonly folder: string
  /** A folder with `postgres` and `initdb`; absent = the bundled one, else the PATH, else the distribution's. */
  readonly binFolder?: string
}): Promise<PostgresServer>
