/** What the program's exit codes mean. Scripts rely on them; `docs/cli.md` lists them. */

export const exitCodes = {
  done: { code: 0, meaning: 'The command did what it was asked.' },
  failed: { code: 1, meaning: 'It failed in a way that has no code of its own; the message says why.' },
  usage: { code: 2, meaning: 'An option, an argument or the configuration is wrong. Nothing was started.' },
  wrongSealingKey: {
    code: 3,
    meaning:
      'The secrets in the database are sealed under another key than the one that was given. Nothing was started.',
  },
  folderInUse: { code: 4, meaning: 'Another process owns the data folder; the message gives its process id.' },
  portInUse: { code: 5, meaning: 'The port to listen on is taken; the message names it.' },
  storeUnavailable: {
    code: 6,
    meaning: 'The database cannot be started or reached, or its schema is newer than this program.',
  },
  engineUnavailable: { code: 7, meaning: 'The search engine cannot be started or reached.' },
  notFound: { code: 8, meaning: 'What was named (a project, key, index, node, running server) does not exist.' },
} as const satisfies Record<string, { readonly code: number; readonly meaning: string }>

export type ExitName = keyof typeof exitCodes

/** Ends the command with a message and a documented code. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed'
  readonly exit: ExitName

  constructor(exit: ExitName, message: string, options?: { readonly cause?: unknown }) {
    super(message, options)
    this.exit = exit
  }
}
