/** References of projects: `[a-z][a-z0-9]{11}`, random, unique for ever (P-02). */
import type { Random } from '../lib/random.ts'

const letters = 'abcdefghijklmnopqrstuvwxyz'
const characters = `${letters}0123456789`

export function newProjectRef(random: Random): string {
  const [first = 0, ...rest] = unbiased(random)
  return (letters[first % letters.length] ?? 'a') + rest.map((value) => characters[value % characters.length]).join('')
}

/** Twelve values below 252 = 7 × 36, so that each character is as likely as every other. */
function unbiased(random: Random): number[] {
  const values: number[] = []
  while (values.length < 12) values.push(...[...random.bytes(16)].filter((value) => value < 252))
  return values.slice(0, 12)
}
