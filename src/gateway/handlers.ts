/** Which function answers which name of the policy table. Reads of one index are relayed and are not here. */
import { type Answer, json } from './answer.ts'
import { completeChat } from './chat-completion.ts'
import {
  deleteChat,
  listChats,
  readChat,
  readChatSettings,
  resetChatSettings,
  updateChatSettings,
} from './chat-handlers.ts'
import {
  clearDocuments,
  deleteBatch,
  deleteByFilter,
  deleteDocument,
  editDocuments,
  putDocuments,
} from './document-handlers.ts'
import type { GatewayParts, Handler } from './exchange.ts'
import { explain } from './explain-handlers.ts'
import {
  compactIndex,
  createIndex,
  deleteIndex,
  listIndexes,
  readIndex,
  swapIndexes,
  updateIndex,
} from './index-handlers.ts'
import {
  createDump,
  createExport,
  createSnapshot,
  readFeatures,
  readNetwork,
  readVersion,
  renderTemplate,
  updateFeatures,
  updateNetwork,
} from './instance-handlers.ts'
import { createKey, deleteKey, listKeys, readKey, updateKey } from './key-handlers.ts'
import { multiSearch } from './multi-search.ts'
import type { HandlerName } from './route-policy.ts'
import {
  clearSearchRules,
  deleteSearchRule,
  listSearchRules,
  readSearchRule,
  updateSearchRule,
} from './rule-handlers.ts'
import { resetSettings, writeSettings } from './settings-handlers.ts'
import { readMetrics, readStats } from './stats-handlers.ts'
import {
  cancelTasks,
  compactTasks,
  deleteTasks,
  listBatches,
  listTasks,
  readBatch,
  readTask,
  readTaskDocuments,
} from './task-handlers.ts'
import { createWebhook, deleteWebhook, listWebhooks, readWebhook, updateWebhook } from './webhook-handlers.ts'

/** Answered without a key and without a project. */
export type OpenName = 'root' | 'health' | 'jwks'
export type RelayedName = 'search' | 'forwardRead' | 'readSettings'

export function isRelayed<N extends HandlerName>(name: N): name is N & RelayedName {
  return name === 'search' || name === 'forwardRead' || name === 'readSettings'
}

const running = json(200, { status: 'Meilisearch is running' })
const available = json(200, { status: 'available' })

export const openAnswers: Record<OpenName, (parts: GatewayParts) => Answer> = {
  root: () => running,
  health: () => available,
  /** The public keys of tokens that we sign (P-05), as RFC 7517 5 has them. */
  jwks: ({ accessTokens }) => json(200, { keys: accessTokens.platformKeys().map(({ jwk }) => jwk) }),
}

export const handlers: Record<Exclude<HandlerName, OpenName | RelayedName>, Handler> = {
  version: readVersion,
  stats: readStats,
  metrics: readMetrics,
  listIndexes,
  createIndex,
  readIndex,
  updateIndex,
  deleteIndex,
  compactIndex,
  swapIndexes,
  listSearchRules,
  clearSearchRules,
  readSearchRule,
  updateSearchRule,
  deleteSearchRule,
  explain,
  multiSearch,
  renderTemplate,
  putDocuments,
  clearDocuments,
  deleteDocument,
  deleteBatch,
  deleteByFilter,
  editDocuments,
  writeSettings,
  resetSettings,
  listTasks,
  readTask,
  readTaskDocuments,
  cancelTasks,
  deleteTasks,
  compactTasks,
  listBatches,
  readBatch,
  listKeys,
  createKey,
  readKey,
  updateKey,
  deleteKey,
  listWebhooks,
  createWebhook,
  readWebhook,
  updateWebhook,
  deleteWebhook,
  readFeatures,
  updateFeatures,
  createDump,
  createSnapshot,
  createExport,
  readNetwork,
  updateNetwork,
  listChats,
  readChat,
  deleteChat,
  readChatSettings,
  updateChatSettings,
  resetChatSettings,
  completeChat,
}
