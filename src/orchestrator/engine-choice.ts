/**
 * The engine program of one local node, where it is not that of its fellows: a file in the node's folder, read at every start.
 * A node changes its program only while it holds no indexes, so that it begins with an empty disk and no version ever reads
 * another one's files.
 */
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isObject, type Json } from '../lib/json.ts'

interface EngineChoice {
  readonly bin: string
  /** The next start leaves what is on the disk behind. */
  readonly isNew: boolean
}

const fileOf = (folder: string): string => join(folder, 'engine.json')

/** @param bin  absolute path of a program. */
export function chooseEngine(folder: string, bin: string): void {
  write(folder, { bin, isNew: true })
}

/** Before a start: the program to run; `undefined` = that of its fellows. Twice: safe. */
export function takeChosenEngine(folder: string): string | undefined {
  const choice = read(folder)
  if (choice === undefined) return undefined
  if (choice.isNew) {
    const [disk, before] = [join(folder, 'db'), join(folder, 'db.replaced')]
    if (existsSync(disk)) {
      rmSync(before, { recursive: true, force: true })
      renameSync(disk, before)
    }
    write(folder, { ...choice, isNew: false })
  }
  return choice.bin
}

function read(folder: string): EngineChoice | undefined {
  if (!existsSync(fileOf(folder))) return undefined
  const found: Json = JSON.parse(readFileSync(fileOf(folder), 'utf8'))
  if (!isObject(found) || typeof found.bin !== 'string') throw new Error(`${fileOf(folder)} names no program`)
  return { bin: found.bin, isNew: found.isNew === true }
}

function write(folder: string, choice: EngineChoice): void {
  const draft = `${fileOf(folder)}.draft`
  writeFileSync(draft, JSON.stringify(choice), { mode: 0o600 })
  renameSync(draft, fileOf(folder))
}
