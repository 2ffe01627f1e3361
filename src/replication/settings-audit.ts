/**
 * Whether a node's settings of an index are still those that its lane gave it: somebody may have changed them behind our back
 * (C-17). What a node shows of settings is its own spelling of them, so nothing is compared with what was sent: the first look
 * behind a change of settings gives a fingerprint, which the store keeps, and every later look must give the same one.
 */
import { createHash } from 'node:crypto'
import { settingRoutes } from '../api/settings.ts'
import type { SettingsPrint } from '../journal/ports.ts'
import { canonicalJson, isObject, type Json, type JsonObject } from '../lib/json.ts'
import type { Placement } from '../store/catalogue.ts'
import type { IndexOnNode } from './index-on-node.ts'
import { LeaseLost, type NodeSession } from './node-session.ts'
import { nodeSettings } from './node-settings.ts'

function settingsHash(shown: JsonObject): string {
  return createHash('sha256').update(canonicalJson(shown)).digest('hex')
}

/**
 * Everything that a node of a spread index must hold, as one settings change: what the client never set goes back to its
 * default, and embedders that are none of the client's go away.
 *
 * @param folded  the client's settings, with secrets.
 * @param shown   what the node has.
 */
function wholeSettings(folded: JsonObject, shown: JsonObject): JsonObject {
  const names = settingRoutes.map(({ name }) => name).filter((name) => name !== 'foreignKeys' && name in shown)
  const whole: Record<string, Json> = Object.fromEntries(names.map((name) => [name, folded[name] ?? null]))
  if (isObject(shown.embedders)) {
    const wanted = isObject(folded.embedders) ? folded.embedders : {}
    const others = Object.keys(shown.embedders).filter((name) => !(name in wanted))
    whole.embedders = { ...wanted, ...Object.fromEntries(others.map((name) => [name, null])) }
  }
  return nodeSettings(whole)
}

/** Gives an index on its node all settings of before again. @param folded  the client's, with secrets. */
export async function restoreSettings(onNode: IndexOnNode, folded: JsonObject, applied: number): Promise<void> {
  await onNode.configure(wholeSettings(folded, await onNode.settings()))
  await onNode.separate(applied)
}

export interface AuditDeps {
  readonly session: NodeSession
  readonly placement: Placement
  readonly onNode: IndexOnNode
  readonly applied: number
}

/** Before: everything is applied. What was changed behind our back is put right. @param print  null = nobody looked yet. */
export async function auditSettings(
  { session: { deps, lease }, placement, onNode, applied }: AuditDeps,
  print: SettingsPrint | null,
): Promise<void> {
  const { completed, position, settings } = await deps.journal.completedSettings(placement.index)
  if (completed !== applied) return
  let shown = await onNode.settings()
  if (print?.position === position) {
    if (print.hash === settingsHash(shown)) return
    const { index, node } = placement
    deps.log.error({ index, node, position }, 'the settings of the index were changed on its node; they are set again')
    deps.metrics.settingsRepaired(index)
    await onNode.configure(wholeSettings(settings, shown))
    await onNode.separate(applied)
    shown = await onNode.settings()
  }
  if (!(await deps.journal.savePrint(lease, placement, { position, hash: settingsHash(shown) }))) throw new LeaseLost()
}
