/** What every command gets: the configuration it was called with, a terminal, and the program's own parts. */
import type { Command } from 'commander'
import type { Config, Environment } from '../config/config.ts'
import type { Store } from '../journal/open-store.ts'
import type { Terminal } from './terminal.ts'

/** The long-running commands, built in `app.ts`. Each resolves when the program was told to stop and has stopped. */
export interface Programs {
  up(context: CommandContext): Promise<void>
  serve(context: CommandContext): Promise<void>
  engine(context: CommandContext, options: EngineOptions): Promise<void>
  /** The store of the data folder's running server, or of `DATABASE_URL`. The caller closes it. */
  openStore(config: Config): Promise<Store>
}

export interface EngineOptions {
  /** Ends when standard input does: the process that started it is gone. */
  readonly endsWithParent: boolean
}

export interface CommandContext {
  readonly config: Config
  /** What child processes inherit. */
  readonly env: Environment
  readonly terminal: Terminal
  readonly programs: Programs
}

/** Runs an action of `command`, whose options become the configuration. */
export type RunCommand = (command: Command, action: (context: CommandContext) => Promise<void>) => Promise<void>
