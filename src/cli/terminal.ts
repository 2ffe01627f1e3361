/** Where a command writes: text for people, or one JSON value for programs. Nothing else goes to standard output. */
import type { Json } from '../lib/json.ts'

export interface Terminal {
  readonly isJson: boolean
  /** True when a person watches, so that a progress bar makes sense. */
  readonly isInteractive: boolean
  /** Whether the command has answered: a failure behind that goes to standard error, so that programs read one value. */
  readonly hasAnswered: boolean
  /** The command's answer: `text` for people, `value` with `--json`. */
  answer(value: Json, text: string): void
  /** A remark on the way; with `--json` it is left out. */
  remark(text: string): void
  /** Always to standard error. */
  complain(text: string): void
}

/** A standard stream, or what stands for one. */
export interface Output {
  readonly isTTY?: boolean
  write(text: string): unknown
}

export function createTerminal(
  streams: { readonly stdout: Output; readonly stderr: Output },
  isJson: boolean,
): Terminal {
  let hasAnswered = false
  return {
    isJson,
    get hasAnswered() {
      return hasAnswered
    },
    isInteractive: !isJson && streams.stdout.isTTY === true,
    answer: (value, text) => {
      hasAnswered = true
      streams.stdout.write(`${isJson ? JSON.stringify(value, null, 2) : text}\n`)
    },
    remark: (text) => {
      if (!isJson) streams.stdout.write(`${text}\n`)
    },
    complain: (text) => {
      streams.stderr.write(`${text}\n`)
    },
  }
}

/** Lines of equal columns, the first one as heading. */
export function formatColumns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
