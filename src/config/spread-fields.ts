/** How indexes lie over many nodes, and when writes to them are accepted: fields of the section `cluster` (C-03, C-07, design 2). */
import { choice, field, flagValue, integer, optional } from './field.ts'

/** As many as the field that documents carry can name. */
const shardsMax = 4_096

export const spreadFields = {
  shards: field(optional(integer(1, shardsMax)), null, {
    env: ['FLAPJACK_CLUSTER_SHARDS'],
    flag: 'shards',
    initialText: 'none: new indexes are plain, whole on one node',
    about:
      'Shards of new indexes, which are spread over all nodes then. An index keeps its number; take 8 times as many as a replica group will ever have nodes. See [spread indexes](operating.md#spread-indexes).',
  }),
  replicationFactor: field(integer(1, 16), 2, {
    env: ['FLAPJACK_CLUSTER_REPLICATION_FACTOR'],
    flag: 'rf',
    about:
      'Copies of each shard of new spread indexes inside one replica group. A group with fewer nodes holds one on each of them.',
  }),
  replicaGroups: field(optional(integer(1, 16)), null, {
    env: ['FLAPJACK_CLUSTER_REPLICA_GROUPS'],
    flag: 'groups',
    initialText: '1, or those of the data folder',
    about:
      'Replica groups that `up` starts, each of `engine.nodes` engine processes. Every group holds all shards and answers searches by itself.',
  }),
  exactTies: field(flagValue, true, {
    env: ['FLAPJACK_CLUSTER_EXACT_TIES'],
    about:
      'In new spread indexes, documents that are equal in every ranking rule come in the order of their first insertion, as on one node; every write looks up by id what is there already. `false`: they come in the order in which they were written last, and writes look nothing up.',
  }),
  meilisearchIndexesMax: field(integer(1, 1_000_000), 500, {
    env: ['FLAPJACK_CLUSTER_MEILISEARCH_INDEXES_MAX'],
    about:
      'Indexes that a Meilisearch node should hold: beyond, it takes new plain ones only while no other node has room. The default is as many as were measured, see [many small indexes](density.md).',
  }),
  writeAdmission: field(choice('available', 'quorum', 'journal'), 'available', {
    env: ['FLAPJACK_CLUSTER_WRITE_ADMISSION', 'FLAPJACK_WRITE_ADMISSION'],
    about:
      'When writes are accepted: `available` while every shard of the index has a live replica, `quorum` while every shard has more than half of its replicas in some replica group alive, `journal` whenever the database is. Others are refused with `miroir_no_quorum` before anything is stored.',
  }),
} as const
