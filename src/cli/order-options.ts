/** Options that commands about where data lies have in common. */
import { InvalidArgumentError } from 'commander'
import { byteCount, type Decoder, duration } from '../config/field.ts'
import { keepMsDefault } from '../orchestrator/moves/open-move.ts'
import { keepMsMax } from '../store/moves.ts'

/** Reads an option's value as a field of the configuration. */
export function parsed<T>(decoder: Decoder<T>): (text: string) => T {
  return (text) => {
    const found = decoder.decode(text)
    if ('expected' in found) throw new InvalidArgumentError(`expected: ${found.expected}`)
    return found.value
  }
}

export const dryRunOption = ['--dry-run', 'says what would be done, and does nothing'] as const

export const waitOption = ['--wait', 'until everything is where it should be, with progress'] as const

/** How long a move can be undone. */
export const keepOption = [
  '--keep <time>',
  'how long the way back stays open, such as 15m',
  parsed(duration(0, keepMsMax)),
  keepMsDefault,
] as const

/** @param done  such as `copied`. */
export function rateOption(done: string) {
  const decode = parsed(byteCount(1024, 2 ** 50))
  return ['--rate <bytes>', `what is ${done} per second at most, such as \`20 MB\``, decode] as const
}
