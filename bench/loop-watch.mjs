// Loaded into a server by NODE_OPTIONS: on SIGUSR2 it writes how long its main event loop was blocked at most since the last
// time, in milliseconds, into the file that LOOP_WATCH_FILE names.
import { renameSync, writeFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { isMainThread } from 'node:worker_threads'

const file = process.env.LOOP_WATCH_FILE
if (isMainThread && file !== undefined) {
  const resolutionMs = 5
  const delay = monitorEventLoopDelay({ resolution: resolutionMs })
  delay.enable()
  process.on('SIGUSR2', () => {
    const maxMs = Math.max(0, delay.max / 1e6 - resolutionMs)
    const p99Ms = Math.max(0, delay.percentile(99) / 1e6 - resolutionMs)
    writeFileSync(`${file}.draft`, JSON.stringify({ maxMs, p99Ms }))
    renameSync(`${file}.draft`, file)
    delay.reset()
  })
}
