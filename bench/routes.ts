/** Size and speed of the route table, in a process of its own so that its memory can be told. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

export async function benchRoutes(): Promise<unknown> {
  const script = join(import.meta.dirname, 'route-table.ts')
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '--import', 'tsx', script])
  return JSON.parse(stdout)
}
