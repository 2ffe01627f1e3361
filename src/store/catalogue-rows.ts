/** Rows of the catalogue as domain types. */
import { randomBytes } from 'node:crypto'
import type { ChatWorkspaces } from '../api/chat-workspace.ts'
import type { Network } from '../api/network-body.ts'
import type { NamedRule } from '../api/search-rule.ts'
import { SealBroken } from '../lib/seal.ts'
import {
  type ApiKey,
  type CatalogueEvent,
  defaultProjectSettings,
  type Generation,
  type IndexEntry,
  noTokenRules,
  type Organisation,
  type Project,
  type ProjectId,
  type ProjectSettings,
  type Spread,
  type TokenRules,
  type Webhook,
} from './catalogue.ts'
import type { Opener } from './key-ring.ts'
import type { Tables } from './tables.ts'

export const masterKeyContext = (project: string) => `project:${project}:master-key`
export const networkContext = (project: string) => `network:${project}`
export const chatsContext = (project: string) => `chats:${project}`
export const webhookContext = (project: string, uuid: string) => `webhook:${project}:${uuid}:headers`

export function decodeOrganisation(row: Tables['organisations']): Organisation {
  return { id: row.id, name: row.name, createdAt: row.created_at }
}

export function decodeProject(sealing: Opener, row: Tables['projects']): Project {
  let masterKey: string | undefined
  try {
    masterKey = sealing.open(row.master_key_sealed, masterKeyContext(row.id)).toString()
  } catch (error) {
    if (!(error instanceof SealBroken)) throw error
  }
  return {
    id: row.id,
    organisation: row.organisation_id,
    ref: row.ref,
    name: row.name,
    state: masterKey === undefined ? 'unreadable' : row.state,
    // Something that nobody can send.
    masterKey: masterKey ?? randomBytes(32).toString('hex'),
    features: JSON.parse(row.features) as Record<string, boolean>,
    tokens: row.token_rules === null ? noTokenRules : (JSON.parse(row.token_rules) as TokenRules),
    settings: decodeSettings(row.settings),
    searchRules: row.search_rules === null ? [] : (JSON.parse(row.search_rules) as NamedRule[]),
    createdAt: row.created_at,
  }
}

/** Only what was ever changed is stored: what is new has its default in every project. */
function decodeSettings(stored: string | null): ProjectSettings {
  if (stored === null) return defaultProjectSettings
  return { ...defaultProjectSettings, ...(JSON.parse(stored) as Partial<ProjectSettings>) }
}

export type KeyRow = Omit<Tables['api_keys'], 'seq'>

export function decodeKey(row: KeyRow): ApiKey {
  const labels = JSON.parse(row.labels) as { name: string | null; description: string | null }
  return {
    project: row.project_id,
    uid: row.uid,
    name: labels.name,
    description: labels.description,
    actions: row.actions,
    indexes: row.indexes,
    expiresAt: row.expires_at,
    hash: row.hash,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}

export type EntryRow = Pick<
  Tables['indexes'],
  'id' | 'project_id' | 'read_uid' | 'primary_key' | 'created_at' | 'updated_at' | 'spread'
> & { readonly settings_position: number }

/** `undefined`: reads do not see this index. */
export function decodeEntry(row: EntryRow): IndexEntry | undefined {
  if (row.read_uid === null || row.created_at === null) return undefined
  return {
    id: row.id,
    project: row.project_id,
    uid: row.read_uid,
    primaryKey: row.primary_key === null ? null : (JSON.parse(row.primary_key) as string),
    createdAt: row.created_at,
    updatedAt: row.updated_at ?? row.created_at,
    settingsPosition: row.settings_position,
    spread: decodeSpread(row.spread),
  }
}

/** JSON as `indexes.spread` holds it. */
export function decodeSpread(text: string | null): Spread | null {
  return text === null ? null : (JSON.parse(text) as Spread)
}

/** JSON as `indexes.beside` holds it. */
export function decodeGeneration(text: string | null): Generation | null {
  return text === null ? null : (JSON.parse(text) as Generation)
}

export type WebhookRow = Omit<Tables['webhooks'], 'seq'>

export function decodeWebhook(sealing: Opener, row: WebhookRow): Webhook {
  const headers = sealing.open(row.headers_sealed, webhookContext(row.project_id, row.uuid)).toString()
  return {
    project: row.project_id,
    uuid: row.uuid,
    url: row.url,
    headers: JSON.parse(headers) as Record<string, string>,
    isEditable: row.is_editable,
  }
}

export function decodeEvent(row: Tables['catalogue_events']): CatalogueEvent {
  return {
    version: row.version,
    entity: row.entity as CatalogueEvent['entity'],
    project: row.project_id,
    entityId: row.entity_id,
  }
}

export function openChats(sealing: Opener, project: ProjectId, sealed: Buffer): ChatWorkspaces {
  return JSON.parse(sealing.open(sealed, chatsContext(project)).toString()) as ChatWorkspaces
}

export function openNetwork(sealing: Opener, project: ProjectId, sealed: Buffer): Network {
  return JSON.parse(sealing.open(sealed, networkContext(project)).toString()) as Network
}
