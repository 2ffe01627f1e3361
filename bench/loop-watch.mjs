// Loaded into a server by `--import`: on SIGUSR2 it writes how long its main event loop was blocked at most since the last
// time, in milliseconds, into the file that LOOP_WATCH_FILE names: by the clock (`maxMs`), and by the processor time of the
// main thread (`cpuMs`), which leaves out the time that other programs took.
import { openSync, readSync, renameSync, writeFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { isMainThread } from 'node:worker_threads'

const file = process.env.LOOP_WATCH_FILE
if (isMainThread && file !== undefined) {
  const resolutionMs = 5
  const delay = monitorEventLoopDelay({ resolution: resolutionMs })
  delay.enable()
  let cpuMs = 0
  const cpuTime = cpuClock()
  let before = cpuTime()
  setInterval(() => {
    const now = cpuTime()
    cpuMs = Math.max(cpuMs, now - before)
    before = now
  }, resolutionMs).unref()
  process.on('SIGUSR2', () => {
    const maxMs = Math.max(0, delay.max / 1e6 - resolutionMs)
    writeFileSync(`${file}.draft`, JSON.stringify({ maxMs, cpuMs }))
    renameSync(`${file}.draft`, file)
    delay.reset()
    cpuMs = 0
    before = cpuTime()
  })
}

/** Milliseconds of processor time of the main thread, where Linux tells them; else those of the clock. */
function cpuClock() {
  try {
    const stat = openSync(`/proc/self/task/${process.pid}/schedstat`, 'r')
    const bytes = Buffer.alloc(64)
    return () => Number(bytes.toString('latin1', 0, readSync(stat, bytes, 0, 64, 0)).split(' ')[0]) / 1e6
  } catch {
    return () => performance.now()
  }
}
