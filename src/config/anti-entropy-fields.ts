/** How replicas are compared in the background: the group `cluster.anti_entropy` (C-32). */
import { duration, field, flagValue, integer } from './field.ts'

export const antiEntropyFields = {
  enabled: field(flagValue, true, {
    env: ['FLAPJACK_CLUSTER_ANTI_ENTROPY_ENABLED'],
    about:
      'Workers compare the replicas of each index with each other, document by document, in the background. An index of one replica is not looked at. See [moves](moves.md#in-the-background).',
  }),
  intervalMs: field(duration(1_000, 365 * 86_400_000), 6 * 3_600_000, {
    env: ['FLAPJACK_CLUSTER_ANTI_ENTROPY_INTERVAL_MS'],
    initialText: '6h',
    about: 'Time between the end of one pass over an index and the next.',
  }),
  documentsPerSecond: field(integer(10, 100_000), 200, {
    env: ['FLAPJACK_CLUSTER_ANTI_ENTROPY_DOCUMENTS_PER_SECOND'],
    about: 'Documents that one worker compares per second, at most.',
  }),
  autoRepair: field(flagValue, true, {
    env: ['FLAPJACK_CLUSTER_ANTI_ENTROPY_AUTO_REPAIR'],
    about:
      'A replica that differs in two passes in a row is built anew from the journal while the others serve. `false`, or with `store.payload_retention_ms`: it is only told of.',
  }),
} as const
