/** What follows from what a comparison of replicas found (C-32). Pure. */
import type { ReplicaFinding } from '../../store/replica-checks.ts'
import { replicaId } from '../../topology/replica-id.ts'
import type { VerifiedPair } from './verification.ts'

type Named = Pick<ReplicaFinding, 'node' | 'physicalUid'>

/** Of one pass over an index: a pair that was compared. */
export interface FoundPair extends Pick<VerifiedPair, 'differing' | 'settingsDiffer'> {
  readonly reference: Named
  readonly replica: Named
}

export interface Verdict {
  readonly findings: readonly ReplicaFinding[]
  /** A replica that is to be built anew from the journal, if any. */
  readonly rebuild: Named | undefined
}

/** A difference may be of the moment, and is believed when the next pass finds it again. */
const timesMin = 2
/** Ids that are kept of one finding. */
export const differingKept = 10

/**
 * The replica that differed twice in a row is built anew. If it differs twice again, the one that it is compared with must be
 * what is wrong. What differs even then is left to people: something makes it so.
 *
 * @param before  findings of the pass before.
 * @param replicas  all that the index has: of one that was not compared, since it is being filled, the finding stays.
 */
export function judge(
  before: readonly ReplicaFinding[],
  pairs: readonly FoundPair[],
  replicas: readonly Named[],
  mayRebuild: boolean,
): Verdict {
  let rebuild: Named | undefined
  const kept = before.filter(
    (finding) =>
      replicas.some((replica) => isSame(replica, finding)) && !pairs.some(({ replica }) => isSame(replica, finding)),
  )
  const findings = differingPairs(pairs).map(({ reference, replica, differing, settingsDiffer }): ReplicaFinding => {
    const known = before.find((finding) => isSame(finding, replica))
    const finding = {
      ...{ node: replica.node, physicalUid: replica.physicalUid },
      ...{ times: (known?.times ?? 0) + 1, rebuilt: known?.rebuilt ?? 0 },
      ...{ differing: differing.slice(0, differingKept), settingsDiffer },
    }
    // One at a time: the others serve meanwhile.
    if (!mayRebuild || rebuild !== undefined || finding.times < timesMin || finding.rebuilt > 1) return finding
    rebuild = finding.rebuilt === 0 ? replica : reference
    return { ...finding, times: 0, rebuilt: finding.rebuilt + 1 }
  })
  return { findings: [...kept, ...findings], rebuild }
}

/** Once for each replica, whatever number of its shards differ. */
function differingPairs(pairs: readonly FoundPair[]): readonly FoundPair[] {
  const found: FoundPair[] = []
  for (const pair of pairs) {
    if (pair.differing.length === 0 && !pair.settingsDiffer) continue
    const at = found.findIndex(({ replica }) => isSame(replica, pair.replica))
    const known = found[at]
    if (known === undefined) found.push(pair)
    else {
      const settingsDiffer = known.settingsDiffer || pair.settingsDiffer
      found[at] = { ...known, settingsDiffer, differing: [...known.differing, ...pair.differing] }
    }
  }
  return found
}

const isSame = (a: Named, b: Named): boolean => replicaId(a) === replicaId(b)
