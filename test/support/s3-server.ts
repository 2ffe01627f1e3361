/** A real S3 server (versitygw over a folder) for tests, where `VERSITYGW_BIN` or the PATH has one. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { freePort } from '../../src/lib/loopback-port.ts'
import type { S3Options } from '../../src/store/objects/s3-objects.ts'

export interface S3Server {
  readonly options: S3Options
  close(): Promise<void>
}

const credentials = { accessKeyId: 'flapjack', secretAccessKey: 'a-secret-of-tests' }
const startMsMax = 20_000

export function s3Program(): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter)
  const named = process.env.VERSITYGW_BIN
  return [...(named ? [named] : []), ...folders.map((folder) => join(folder, 'versitygw'))].find((path) => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** With one bucket. */
export async function startS3(program: string): Promise<S3Server> {
  const folder = await mkdtemp(join(tmpdir(), 'flapjack-s3-'))
  const bucket = 'backups'
  await mkdir(join(folder, 'data', bucket), { recursive: true })
  await mkdir(join(folder, 'iam'), { recursive: true })
  const port = await freePort()
  const { accessKeyId, secretAccessKey } = credentials
  const args = ['--access', accessKeyId, '--secret', secretAccessKey, '--port', `127.0.0.1:${port}`]
  const child = spawn(program, [...args, '--iam-dir', join(folder, 'iam'), 'posix', join(folder, 'data')], {
    stdio: 'ignore',
  })
  const ended = once(child, 'exit')
  const endpoint = `http://127.0.0.1:${port}`
  const close = async () => {
    child.kill()
    await ended
    await rm(folder, { recursive: true, force: true })
  }
  for (const deadline = Date.now() + startMsMax; ; ) {
    const isUp = await fetch(endpoint).then(
      () => true,
      () => false,
    )
    if (isUp) break
    if (Date.now() > deadline || child.exitCode !== null) {
      await close()
      throw new Error(`${program} does not start`)
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return {
    options: { bucket, prefix: 'flapjack', endpoint, region: 'us-east-1', credentials, partBytes: 5 * 2 ** 20 },
    close,
  }
}
