/**
 * A lane's part in settings changes of a spread index, which replicas take in turns (`settings-turn.ts`). Once it has taken its
 * turn, it goes no further before the change has ended everywhere; if the change failed, it puts the settings of before back.
 */
import type { LaneChange } from '../journal/ports.ts'
import type { SettingsTurn } from '../journal/settings-turn.ts'
import type { Placement } from '../store/catalogue.ts'
import { replicaId } from '../topology/replica-id.ts'
import type { IndexOnNode } from './index-on-node.ts'
import { LeaseLost, type NodeSession } from './node-session.ts'
import type { OpenChange } from './open-change.ts'
import { untilRoutesTaken } from './routes-taken.ts'
import { restoreSettings } from './settings-audit.ts'
import { readBytesMax } from './standing.ts'

const pollMs = 50
const pollMsMax = 500
/**
 * Whoever leads must hold documents, since some settings are refused for what documents hold. An empty replica waits so many
 * looks for another one to come forward.
 */
const emptyPolls = 10

export class LaneTurns {
  readonly #session: NodeSession
  readonly #placement: Placement
  readonly #onNode: IndexOnNode
  /** Of the settings change that was sent and may not have ended; 0 = none. */
  #position: number
  #polls = 0
  /** Of the settings change for which no gateway reads the replica any more. */
  #leftAt = 0

  constructor(session: NodeSession, placement: Placement, onNode: IndexOnNode) {
    this.#session = session
    this.#placement = placement
    this.#onNode = onNode
    const { turn = 0, applied } = placement
    this.#position = turn <= applied ? turn : 0
  }

  /** Nothing behind it goes out before it has ended; 0 = nothing is held back. */
  get position(): number {
    return this.#position
  }

  /** A change was sent, found as sent, or passed over since another replica refused it. */
  note({ item }: Pick<OpenChange, 'item'>): void {
    if (item.turn === undefined) return
    const { position, status } = item.change
    if (status === 'processing' || this.mustUndo(item)) this.#position = position
    this.#polls = 0
  }

  /** The change failed, and the node may hold it. */
  mustUndo({ turn }: LaneChange): boolean {
    return turn?.undoers.includes(replicaId(this.#placement)) === true
  }

  /** The replica is built anew. */
  forget(): void {
    this.#position = 0
    this.#leftAt = 0
  }

  /** What is behind `sent` will be sent again. */
  goBack(sent: number): void {
    if (this.#position > sent) this.#position = 0
  }

  /** Whether the replica may take the change now; when not, a moment was waited and everything is to be looked at again. */
  async mayTake(item: LaneChange, turn: SettingsTurn, signal: AbortSignal): Promise<boolean> {
    const own = replicaId(this.#placement)
    const { position } = item.change
    if (!turn.takers.includes(own)) {
      await this.#wait(item, turn, signal)
      return false
    }
    if (!turn.leavers.includes(own) || this.#leftAt === position) return true
    try {
      await untilRoutesTaken(this.#session.deps, signal)
    } catch (error) {
      if (signal.aborted) return false
      throw error
    }
    this.#leftAt = position
    return false
  }

  /** It is not the replica's turn yet: asks for turns where nobody has one, and waits a moment. */
  async #wait({ change: { position } }: LaneChange, turn: SettingsTurn, signal: AbortSignal): Promise<void> {
    const { deps, lease } = this.#session
    this.#polls += 1
    if (turn.isOpen && (this.#polls > emptyPolls || (await this.#onNode.holdsDocuments()))) {
      this.#polls = 0
      if (!(await deps.journal.giveTurns(lease, this.#placement, position))) throw new LeaseLost()
    }
    await this.#pause(signal)
  }

  /** Looks whether the change that it had its turn at has ended. `rebuild` = only from the beginning can it be taken back. */
  async end(sent: number, signal: AbortSignal): Promise<'open' | 'over' | 'rebuild'> {
    const { deps } = this.#session
    const position = this.#position
    const [item] = await deps.journal.read(this.#placement.index, position - 1, 1, readBytesMax)
    const status = item?.change.status
    if (status === 'processing' || status === 'enqueued') {
      this.#polls += 1
      await this.#pause(signal)
      return 'open'
    }
    if (item !== undefined && this.mustUndo(item) && !(await this.undo(position, sent))) return 'rebuild'
    this.#position = 0
    this.#polls = 0
    return 'over'
  }

  /**
   * Puts back the settings of before a change that failed. Before: nothing is open. Twice: safe.
   *
   * @param sent  position up to which everything was sent.
   * @returns `false` = others have gone on to later settings since, so that what lies between would meet the wrong ones.
   */
  async undo(position: number, sent: number): Promise<boolean> {
    const { deps, lease } = this.#session
    const completed = await deps.journal.completedSettings(this.#placement.index)
    if (completed.position > position) return false
    await restoreSettings(this.#onNode, completed.settings, sent)
    if (!(await deps.journal.endTurn(lease, this.#placement))) throw new LeaseLost()
    return true
  }

  /** The longer the change takes, the more seldom it is looked at. */
  #pause(signal: AbortSignal): Promise<void> {
    const ms = Math.min(pollMsMax, pollMs * (1 + this.#polls / emptyPolls))
    return this.#session.deps.clock.sleep(ms, signal).catch(() => {})
  }
}
