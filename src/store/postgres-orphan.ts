/** A server that outlived its parent, and the lock file that a killed one left behind. */
import { execFile } from 'node:child_process'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/**
 * Stops the server that runs on `data`, if any, and removes its lock file once no server holds it.
 * SIGINT first; after `stopMsMax` SIGQUIT, which loses nothing either: the next start recovers.
 */
export async function stopOrphan(data: string, stopMsMax: number): Promise<void> {
  const lockFile = join(data, 'postmaster.pid')
  const pid = Number((await readFile(lockFile, 'utf8').catch(() => '')).split('\n')[0])
  if (!Number.isInteger(pid) || pid <= 1) return
  if (await isServerOf(pid, data)) {
    signal(pid, 'SIGINT')
    const deadline = Date.now() + stopMsMax
    let isAskedAgain = false
    while (await isServerOf(pid, data)) {
      if (!isAskedAgain && Date.now() > deadline) {
        signal(pid, 'SIGQUIT')
        isAskedAgain = true
      }
      await delay(20)
    }
  }
  // The number may belong to another program by now, and PostgreSQL would then refuse to start for ever.
  await rm(lockFile, { force: true })
}

/** A process number is proof of nothing: numbers are used again. The command line names program and folder. */
async function isServerOf(pid: number, data: string): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false
  }
  const command =
    process.platform === 'linux'
      ? (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ')
      : await run('ps', ['-p', String(pid), '-o', 'command=']).then(
          ({ stdout }) => stdout,
          () => '',
        )
  return /postgres|postmaster/.test(command) && command.includes(data)
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It ended by itself in between.
  }
}
