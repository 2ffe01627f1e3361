/** Checks of replicas in memory: the twin of `openReplicaChecks`. */
import type { Clock } from '../lib/clock.ts'
import type { IndexId } from './catalogue.ts'
import type { ReplicaCheck, ReplicaChecks } from './replica-checks.ts'

interface StoredCheck {
  check: ReplicaCheck
  owner: string
  until: number
  dueAt: number
}

/** @param several  indexes with more than one replica that is read. */
export function openMemoryReplicaChecks(clock: Pick<Clock, 'now'>, several: () => readonly IndexId[]): ReplicaChecks {
  const stored = new Map<IndexId, StoredCheck>()
  const fresh = (index: IndexId): StoredCheck => ({
    check: { index, findings: [], checkedAt: null },
    ...{ owner: '', until: 0, dueAt: 0 },
  })
  const held = (worker: string, index: IndexId): StoredCheck | undefined => {
    const known = stored.get(index)
    return known !== undefined && known.owner === worker && known.until > clock.now() ? known : undefined
  }
  return {
    async claim(worker, leaseMs) {
      const now = clock.now()
      const [first] = several()
        .map((index) => stored.get(index) ?? fresh(index))
        .filter(({ dueAt, until }) => dueAt <= now && until <= now)
        .sort((a, b) => a.dueAt - b.dueAt || (a.check.index < b.check.index ? -1 : 1))
      if (first === undefined) return undefined
      stored.set(first.check.index, { ...first, owner: worker, until: now + leaseMs })
      return first.check
    },
    async renew(worker, index, leaseMs) {
      const known = held(worker, index)
      if (known !== undefined) known.until = clock.now() + leaseMs
      return known !== undefined
    },
    async finish(worker, index, { findings, dueInMs }) {
      const now = clock.now()
      if (held(worker, index) === undefined) return false
      stored.set(index, { check: { index, findings, checkedAt: now }, owner: '', until: 0, dueAt: now + dueInMs })
      return true
    },
    async list(limit) {
      const checks = [...stored.values()].map(({ check }) => check)
      const isQuiet = ({ findings }: ReplicaCheck) => (findings.length === 0 ? 1 : 0)
      return checks.sort((a, b) => isQuiet(a) - isQuiet(b) || (a.index < b.index ? -1 : 1)).slice(0, limit)
    },
    async ask(index) {
      const asked = [...stored.values()].filter(({ check }) => index === null || check.index === index)
      for (const one of asked) one.dueAt = 0
      return asked.length
    },
  }
}
