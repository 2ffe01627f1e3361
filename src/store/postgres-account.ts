/**
 * Under which account the server runs. PostgreSQL refuses to run as root, so root starts it as `nobody`: by a plain switch
 * of user where that user can reach folder and programs, else through `setpriv` with the one capability to pass folders.
 */
import { execFile } from 'node:child_process'
import { chown, lchown, readdir, readFile, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export type PostgresAccount =
  | { readonly kind: 'self' }
  | { readonly kind: 'switch'; readonly uid: number; readonly gid: number }
  | { readonly kind: 'setpriv'; readonly uid: number; readonly gid: number }

/** @param paths  folders that the server must reach. `unreachable`: the first one that it cannot, and no way round. */
export async function chooseAccount(
  paths: readonly string[],
): Promise<PostgresAccount | { readonly kind: 'unreachable'; readonly path: string }> {
  if (process.platform === 'win32' || process.getuid?.() !== 0) return { kind: 'self' }
  const nobody = await nobodyIds()
  const closed = await firstClosed(paths)
  if (closed === undefined) return { kind: 'switch', ...nobody }
  const canSetpriv = await run('setpriv', ['--version']).then(
    () => true,
    () => false,
  )
  return canSetpriv ? { kind: 'setpriv', ...nobody } : { kind: 'unreachable', path: closed }
}

/** Command, arguments and spawn options that run `program` under the account. */
export function commandUnder(
  account: PostgresAccount,
  program: string,
  args: readonly string[],
): { readonly command: string; readonly args: string[]; readonly options: { uid?: number; gid?: number } } {
  switch (account.kind) {
    case 'self':
      return { command: program, args: [...args], options: {} }
    case 'switch':
      return { command: program, args: [...args], options: { uid: account.uid, gid: account.gid } }
    case 'setpriv': {
      const capability = ['--inh-caps=+dac_override', '--ambient-caps=+dac_override']
      const ids = [`--reuid=${account.uid}`, `--regid=${account.gid}`, '--clear-groups']
      return { command: 'setpriv', args: [...ids, ...capability, program, ...args], options: {} }
    }
  }
}

/** Gives a folder and what is in it to the account. */
export async function giveTo(account: PostgresAccount, path: string): Promise<void> {
  if (account.kind === 'self') return
  const status = await stat(path)
  if (status.uid === account.uid && status.gid === account.gid) return
  // The children first: an interrupted walk is then repeated, since the folder itself still belongs to us.
  if (status.isDirectory()) {
    for (const entry of await readdir(path, { withFileTypes: true })) {
      const child = join(path, entry.name)
      await (entry.isSymbolicLink() ? lchown(child, account.uid, account.gid) : giveTo(account, child))
    }
  }
  await chown(path, account.uid, account.gid)
}

async function nobodyIds(): Promise<{ uid: number; gid: number }> {
  const text = await readFile('/etc/passwd', 'utf8').catch(() => '')
  const fields = text
    .split('\n')
    .map((line) => line.split(':'))
    .find((line) => line[0] === 'nobody')
  const uid = Number(fields?.[2])
  const gid = Number(fields?.[3])
  return Number.isInteger(uid) && uid > 0 && Number.isInteger(gid) && gid > 0
    ? { uid, gid }
    : { uid: 65534, gid: 65534 }
}

/** The first folder above or at one of `paths` through which others may not pass. */
async function firstClosed(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    for (let folder = resolve(path); ; folder = dirname(folder)) {
      const status = await stat(folder)
      if ((status.mode & 0o001) === 0) return folder
      if (folder === dirname(folder)) break
    }
  }
  return undefined
}
