/** The file of tasks: compared before it is opened, and now and then while it is written to. */
import { LoadRefused } from '../engine-loading.ts'
import { checkSlowly, verifyPages } from './page-check.ts'
import { FileDamaged, sealOpenPages } from './page-sums.ts'

/** A file that is written to all the time gets new sums at the next pass. */
const sealsMax = 3

/** @throws LoadRefused when the file of tasks does not hold what was written. */
export async function checkTasks(folder: string): Promise<void> {
  try {
    await verifyPages(folder)
  } catch (error) {
    if (!(error instanceof FileDamaged)) throw error
    throw new LoadRefused(
      `${messageOf(error)} Move the folder away and start from the latest snapshot (--import-snapshot) or dump (--import-dump).`,
      { cause: error },
    )
  }
}

const messageOf = (error: FileDamaged): string => `The file of the engine's tasks is damaged: ${error.message}.`

export class TasksCheck {
  readonly #folder: string
  #isHeld = false
  #running: Promise<unknown> = Promise.resolve()
  #damage: { readonly message: string; readonly foundAt: number } | undefined

  constructor(folder: string) {
    this.#folder = folder
  }

  get damage(): { readonly message: string; readonly foundAt: number } | undefined {
    return this.#damage
  }

  /** Runs `work`, which puts another file in its place, while nobody looks through it. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    this.#isHeld = true
    await this.#running
    try {
      return await work()
    } finally {
      this.#isHeld = false
    }
  }

  /** Compares the open file with its sums, or brings those up to date. Answers whether damage was found now. */
  async run(now: number, pause: (byteCount: number) => Promise<void>): Promise<boolean> {
    if (this.#damage !== undefined || this.#isHeld) return false
    const run = this.#check(now, pause)
    this.#running = run.catch(() => undefined)
    return run
  }

  async #check(now: number, pause: (byteCount: number) => Promise<void>): Promise<boolean> {
    const pauseOrEnd = async (byteCount: number) => {
      if (this.#isHeld) throw new Error('the file is replaced')
      await pause(byteCount)
    }
    try {
      const { kind } = await checkSlowly(this.#folder, pauseOrEnd)
      let isSealed = kind === 'sound'
      for (let seals = 0; !isSealed && seals < sealsMax; seals += 1) isSealed = await sealOpenPages(this.#folder)
      return false
    } catch (error) {
      if (!(error instanceof FileDamaged)) throw error
      const advice = 'Make a dump, end the engine, and start from the dump in an empty folder (--import-dump).'
      this.#damage = { message: `${messageOf(error)} ${advice}`, foundAt: now }
      return true
    }
  }
}
