/** When moves copy, and how many at once (P-31, C-26): fields of the section `moves`. */
import { dailyWindows, field, integer, optional, placeOfObjects } from './field.ts'

export const moveFields = {
  perNodeMax: field(integer(1, 64), 2, {
    env: ['FLAPJACK_MOVES_PER_NODE_MAX'],
    about: 'Moves that copy from or to one node at once. Others wait for their turn. See [moves](moves.md).',
  }),
  totalMax: field(integer(1, 10_000), 16, {
    env: ['FLAPJACK_MOVES_TOTAL_MAX'],
    about: 'Moves that copy at once on all nodes together.',
  }),
  windows: field(dailyWindows, [], {
    env: ['FLAPJACK_MOVES_WINDOWS'],
    initialText: 'none: at any time',
    about:
      'Times of day in which moves begin to copy, unless they have their own or are urgent. One that copies goes on when its time is over.',
  }),
  transferTarget: field(optional(placeOfObjects), null, {
    env: ['FLAPJACK_MOVES_TRANSFER_TARGET'],
    initialText: 'none: through the worker',
    about:
      'What [copies by snapshot](moves.md#copies) go over between nodes that do not share a disk: a folder, or `s3://bucket/prefix` at the S3 service of `backups`, whose addresses the nodes must reach. All workers need the same one.',
  }),
} as const
