/** What operators ask of the comparing of replicas in the background (C-32, C-58). */
import { ApiError } from '../api/errors.ts'
import type { JsonObject } from '../lib/json.ts'
import type { Catalogue } from '../store/ports.ts'
import { checkView, type ReplicaChecks } from '../store/replica-checks.ts'

export interface ReplicaCheckOrders {
  /** What was looked at, those with findings first. */
  status(): Promise<JsonObject>
  /**
   * Makes passes due at once. @param uid  of one index, in whichever projects; null = of all.
   * @throws ApiError `miroir_not_found` when no such index was looked at yet.
   */
  run(uid: string | null): Promise<JsonObject>
}

const listedMax = 1_000

export function createReplicaCheckOrders({
  catalogue,
  replicaChecks,
}: {
  readonly catalogue: Pick<Catalogue, 'snapshot'>
  readonly replicaChecks: Pick<ReplicaChecks, 'list' | 'ask'>
}): ReplicaCheckOrders {
  return {
    async status() {
      const { indexes } = await catalogue.snapshot()
      const names = new Map(indexes.map(({ id, uid }) => [id, uid]))
      const checks = await replicaChecks.list(listedMax)
      return { results: checks.map((check) => ({ ...checkView(check), indexUid: names.get(check.index) ?? null })) }
    },
    async run(uid) {
      if (uid === null) return { indexes: await replicaChecks.ask(null) }
      const { indexes } = await catalogue.snapshot()
      let asked = 0
      for (const index of indexes) if (index.uid === uid) asked += await replicaChecks.ask(index.id)
      if (asked > 0) return { indexes: asked }
      throw new ApiError('miroir_not_found', `No index \`${uid}\` of several replicas was looked at yet.`)
    },
  }
}
