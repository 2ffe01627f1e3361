/** Waits for work of a node. A call between two waits is not lost: it is remembered until the next one. */
import type { Clock } from '../lib/clock.ts'
import type { NodeId } from '../store/catalogue.ts'

/** Waited for in place of a node: work of whole projects. No node has this id. */
export const projectWork: NodeId = '*'

export interface WorkWaiter {
  wait(node: NodeId, timeoutMs: number, signal: AbortSignal): Promise<void>
}

/** Without it every wake would make an error of its own, with its stack. */
const woken = new Error('woken')

/** @param listen  called once, at the first wait. An empty payload wakes everybody. */
export function openWorkWaiter(clock: Clock, listen: (wake: (node: NodeId) => void) => void): WorkWaiter {
  /** Nodes that were waited for; true = called since the last wait. */
  const called = new Map<NodeId, boolean>()
  const sleepers = new Map<NodeId, Set<() => void>>()
  let isListening = false
  const wake = (node: NodeId) => {
    for (const known of node === '' ? [...called.keys()] : [node]) {
      called.set(known, true)
      for (const sleeper of sleepers.get(known) ?? []) sleeper()
    }
  }
  return {
    async wait(node, timeoutMs, signal) {
      if (!isListening) listen(wake)
      isListening = true
      if (called.get(node) === true || signal.aborted) {
        called.set(node, false)
        return
      }
      called.set(node, false)
      const ended = new AbortController()
      const end = () => ended.abort(woken)
      const group = sleepers.get(node) ?? new Set()
      sleepers.set(node, group)
      group.add(end)
      signal.addEventListener('abort', end, { once: true })
      await clock.sleep(timeoutMs, ended.signal).catch(() => undefined)
      signal.removeEventListener('abort', end)
      group.delete(end)
      called.set(node, false)
    },
  }
}
