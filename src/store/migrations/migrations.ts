/** Every step of the schema, in order. Forward only: a step that was released is never edited, a correction is a new step. */
import { firstSchema } from './0001-first-schema.ts'
import { foldEvents } from './0002-fold-events.ts'
import { deletionWaits } from './0003-deletion-waits.ts'
import { networks } from './0004-networks.ts'
import { appendTokens } from './0005-append-tokens.ts'
import { tokenRules } from './0006-token-rules.ts'
import { dataKeys } from './0007-data-keys.ts'
import { rowSecurity } from './0008-row-security.ts'
import { gateways } from './0009-gateways.ts'
import { chats } from './0010-chats.ts'
import { nodeTrouble } from './0011-node-trouble.ts'
import { projectSettings } from './0012-project-settings.ts'
import { spreadIndexes } from './0013-spread-indexes.ts'
import { engineCredentials } from './0014-engine-credentials.ts'
import { organisationKeys } from './0015-organisation-keys.ts'
import { moves } from './0016-moves.ts'
import { searchRules } from './0017-search-rules.ts'
import { settingsTurns } from './0018-settings-turns.ts'
import { dueDrops } from './0019-due-drops.ts'
import { physicalReplicas } from './0020-physical-replicas.ts'
import { fleet } from './0021-fleet.ts'
import { generations } from './0022-generations.ts'
import { partialMoves } from './0023-partial-moves.ts'
import { replicaChecks } from './0024-replica-checks.ts'
import { backups } from './0025-backups.ts'
import { wantedPlaces } from './0026-wanted-places.ts'
import { placementsEver } from './0027-placements-ever.ts'

export interface Migration {
  /** 1, 2, 3 … */
  readonly version: number
  readonly name: string
  readonly sql: string
}

export const migrations: readonly Migration[] = [
  firstSchema,
  foldEvents,
  deletionWaits,
  networks,
  appendTokens,
  tokenRules,
  dataKeys,
  rowSecurity,
  gateways,
  chats,
  nodeTrouble,
  projectSettings,
  spreadIndexes,
  engineCredentials,
  organisationKeys,
  moves,
  searchRules,
  settingsTurns,
  dueDrops,
  physicalReplicas,
  fleet,
  generations,
  partialMoves,
  replicaChecks,
  backups,
  wantedPlaces,
  placementsEver,
]
