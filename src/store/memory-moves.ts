/** Moves in memory: the twin of `openMoves`. */
import type { Clock } from '../lib/clock.ts'
import { isBusy, isEnded } from '../topology/move-steps.ts'
import { rankOf } from '../topology/move-turns.ts'
import { byTurn, type Move, type MoveChange, type Moves } from './moves.ts'

interface StoredMove {
  move: Move
  owner: string
  until: number
}

export function openMemoryMoves(clock: Pick<Clock, 'now'>): Moves {
  const stored = new Map<string, StoredMove>()
  const all = () => [...stored.values()].sort((a, b) => (a.move.id < b.move.id ? -1 : 1))
  const isOpen = ({ move }: StoredMove) => move.finishedAt === null
  const save = (worker: string, id: string, { under, ...change }: MoveChange) => {
    const found = stored.get(id)
    const now = clock.now()
    if (found === undefined || found.owner !== worker || found.until <= now || found.move.wish !== under) return false
    const wish = change.step === found.move.step ? found.move.wish : null
    const finishedAt = isEnded(change.step) ? now : null
    found.move = { ...found.move, ...change, wish, updatedAt: now, finishedAt }
    return true
  }
  const isMoving = (index: string) => all().some((one) => isOpen(one) && one.move.index === index)
  return {
    async open(fresh) {
      if (isMoving(fresh.index)) return undefined
      const move: Move = {
        ...fresh,
        step: 'planned',
        wish: null,
        isPaused: false,
        progress: {},
        failure: null,
        updatedAt: fresh.createdAt,
        finishedAt: null,
      }
      stored.set(move.id, { move, owner: '', until: 0 })
      return move
    },
    get: async (id) => stored.get(id)?.move,
    list: async ({ project, isOpen: wanted, finishedAfter }, limit) =>
      all()
        .filter((one) => wanted === undefined || isOpen(one) === wanted)
        .map(({ move }) => move)
        .filter((move) => project === undefined || move.project === project)
        .filter(({ finishedAt }) => finishedAfter === undefined || (finishedAt ?? 0) > finishedAfter)
        .reverse()
        .slice(0, limit),
    async wish(id, wish, steps) {
      const found = stored.get(id)
      if (found === undefined || !steps.includes(found.move.step)) return false
      found.move = { ...found.move, wish, isPaused: false }
      return true
    },
    async setPaused(id, isPaused) {
      const found = stored.get(id)
      if (found === undefined || !isOpen(found)) return false
      found.move = { ...found.move, isPaused }
      return true
    },
    async claim(worker, leaseMs, limit) {
      const now = clock.now()
      const open = all().filter(isOpen)
      const own = open.filter(({ owner, until }) => owner === worker && until > now)
      const free = open
        .filter(({ until }) => until <= now)
        .sort((a, b) => byTurn(a.move, b.move))
        .slice(0, Math.max(0, limit - own.length))
      for (const one of [...own, ...free]) Object.assign(one, { owner: worker, until: now + leaseMs })
      return [...own, ...free].map(({ move }) => move).sort(byTurn)
    },
    save: async (worker, id, change) => save(worker, id, change),
    async enter(worker, id, change, { perNode, total }) {
      const own = stored.get(id)?.move
      if (own === undefined) return false
      const nodes = [own.source, own.target]
      const others = all().flatMap((one) => (isOpen(one) && one.move.id !== id ? [one.move] : []))
      const busy = others.filter(({ step }) => isBusy(step))
      const near = (moves: readonly Move[]) =>
        moves.filter(({ source, target }) => nodes.includes(source) || nodes.includes(target))
      const isAhead = ({ step, isPaused, failure, progress, options }: Move) =>
        step === 'planned' &&
        !isPaused &&
        failure === null &&
        progress.waitsFor === 'turn' &&
        rankOf(options.priority) < rankOf(own.options.priority)
      const isFree = busy.length < total && near(busy).length < perNode && !near(others).some(isAhead)
      return isFree && save(worker, id, change)
    },
    async release(worker) {
      for (const one of stored.values()) if (one.owner === worker) Object.assign(one, { owner: '', until: 0 })
    },
  }
}
