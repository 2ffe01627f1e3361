/** Where the program begins. The only file that reads the environment, the arguments and the signals. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createPrograms, exitOf } from './app.ts'
import { runCommandLine } from './cli/program.ts'
import { systemClock } from './lib/clock.ts'
import { isObject } from './lib/json.ts'
import { systemRandom } from './lib/random.ts'

const description: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
const version = isObject(description) ? String(description.version) : 'unknown'

/** The first signal stops in order, the second at once. */
const stopAsked = new Promise<string>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      process.once(signal, () => process.exit(130))
      resolve(signal)
    })
  }
})

const programs = createPrograms({
  script: fileURLToPath(import.meta.url),
  nodeOptions: process.execArgv,
  env: process.env,
  clock: systemClock,
  random: systemRandom,
  version,
  stopAsked,
})

const code = await runCommandLine({
  args: process.argv.slice(2),
  env: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  version,
  programs,
  exitOf,
})

// Idle connections of the pools would keep the process for some seconds more.
process.stdout.write('', () => process.exit(code))
