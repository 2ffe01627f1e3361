/** What planning knows of indexes and nodes: where replicas are, and where they are wanted. Pure. */
import type { IndexId, Node, NodeId, Placement, ProjectId, Spread } from '../store/catalogue.ts'

/** Where operators want an index; what is null is left to planning. */
export interface WantedPlace {
  /** Of a spread index: the replica groups that hold it. null = all that have nodes for it. */
  readonly groups: readonly number[] | null
  /** Of a plain index: where in the world it is. null = where it is now. */
  readonly region: string | null
}

export const anyPlace: WantedPlace = { groups: null, region: null }

export type LayoutReplica = Pick<Placement, 'node' | 'physicalUid' | 'shards' | 'shed' | 'state'>

export interface IndexLayout {
  readonly index: IndexId
  readonly uid: string
  readonly project: ProjectId
  readonly spread: Spread | null
  readonly wanted: WantedPlace
  /** About what one copy of all shards takes. */
  readonly byteCount: number
  /** Of the generation that is read. */
  readonly replicas: readonly LayoutReplica[]
}

export interface LayoutNode extends Pick<Node, 'id' | 'group' | 'region' | 'engine' | 'state' | 'capacity'> {
  /** Indexes that exist may come to it, beyond those that it holds. */
  readonly takesExisting: boolean
  /** The id by which it is ranked: of the node that it took the place of, or its own. */
  readonly seat: NodeId
  /** It answers. */
  readonly isLive: boolean
}

/** What is taken from one replica. */
export interface Take {
  readonly node: NodeId
  readonly physicalUid: string
  /** Ascending; all of the replica's when it is taken as a whole. */
  readonly shards: readonly number[]
}

/** One move that brings an index nearer to where it is wanted. */
export interface PlannedMove {
  readonly layout: IndexLayout
  /** The sources give up what the target takes, or go on with it, or give it up for nothing. */
  readonly kind: 'move' | 'copy' | 'removal'
  /** At least one. */
  readonly takes: readonly Take[]
  readonly target: NodeId
  /** About what is copied; 0 of a removal. */
  readonly bytes: number
}

/** Something that cannot be where it is wanted, and why. */
export interface StuckReplica {
  readonly layout: IndexLayout
  readonly node: NodeId
  readonly reason: string
}

export interface IndexPlan {
  /** In order: each begins when those before it have ended. */
  readonly moves: readonly PlannedMove[]
  readonly stuck: readonly StuckReplica[]
}
