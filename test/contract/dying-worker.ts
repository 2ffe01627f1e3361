/** Workers that die at a chosen write of a move. */
import type { MoverDeps } from '../../src/orchestrator/moves/mover.ts'

/** A worker whose store goes away for good at its n-th write, every other one of which is done before that. */
export function dyingWorker(deps: MoverDeps, point: number): { readonly deps: MoverDeps; isDead(): boolean } {
  let count = 0
  const dead = new Promise<never>(() => undefined)
  const at = async <T>(write: () => Promise<T>): Promise<T> => {
    if (count >= point) return dead
    count += 1
    if (count < point) return write()
    if (point % 2 === 0) await write()
    return dead
  }
  const isDead = () => count >= point
  const { moves, replicas } = deps
  return {
    isDead,
    deps: {
      ...deps,
      moves: {
        ...moves,
        claim: (worker, leaseMs, limit) => (isDead() ? Promise.resolve([]) : moves.claim(worker, leaseMs, limit)),
        save: (worker, id, change) => at(() => moves.save(worker, id, change)),
        enter: (...entering) => at(() => moves.enter(...entering)),
      },
      replicas: {
        ...replicas,
        addReplica: (index, node, shards) => at(() => replicas.addReplica(index, node, shards)),
        changeReplica: (index, replica, change) => at(() => replicas.changeReplica(index, replica, change)),
        changeGeneration: (index, change) => at(() => replicas.changeGeneration(index, change)),
      },
    },
  }
}
