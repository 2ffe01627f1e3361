/** Choices by a seed: what generators of corpora, settings and queries need beyond numbers. */
import { type Random, seededRandom } from '../../../src/lib/random.ts'

export interface Chance {
  /** An integer in [from, to]. */
  between(from: number, to: number): number
  /** True with probability `share`. */
  is(share: number): boolean
  pick<T>(items: readonly T[]): T
  /** Some of the items, in their order, each with probability `share`. */
  some<T>(items: readonly T[], share: number): T[]
  shuffle<T>(items: readonly T[]): T[]
  /** Early items are picked more often, as words are in texts. */
  pickEarly<T>(items: readonly T[]): T
  readonly random: Random
}

export function chanceOf(seed: number): Chance {
  const random = seededRandom(seed)
  const pick = <T>(items: readonly T[]): T => items[random.integer(items.length)]!
  return {
    random,
    between: (from, to) => from + random.integer(to - from + 1),
    is: (share) => random.float() < share,
    pick,
    some: (items, share) => items.filter(() => random.float() < share),
    shuffle(items) {
      const shuffled = [...items]
      for (let last = shuffled.length - 1; last > 0; last -= 1) {
        const other = random.integer(last + 1)
        const moved = shuffled[last]!
        shuffled[last] = shuffled[other]!
        shuffled[other] = moved
      }
      return shuffled
    },
    pickEarly: (items) => items[Math.floor(random.float() * random.float() * items.length)]!,
  }
}
