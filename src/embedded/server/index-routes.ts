/** Index and settings routes (M-A3, M-A6). */
import { allows } from '../../api/actions.ts'
import { decodeFieldsQuery, decodeIndexCreation, decodeIndexUpdate, decodeSwaps } from '../../api/index-body.ts'
import { indexNotFound, matchesSomeIndexPattern } from '../../api/index-uid.ts'
import { decodeIndexPage, decodeStatsQuery, renderPage } from '../../api/page-query.ts'
import {
  decodeSetting,
  decodeSettings,
  renderSetting,
  renderSettings,
  resetSettings,
  type SettingRoute,
  settingRoutes,
} from '../../api/settings.ts'
import type { JsonObject } from '../../lib/json.ts'
import type { EngineOperation } from '../core.ts'
import { fieldsPage } from '../field-entries.ts'
import { type Answer, accepted, type Call, json, pathUid, type Route, readJson } from './call.ts'
import { checkIndex } from './key-ring.ts'

export const indexRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/indexes',
    action: 'indexes.get',
    handle({ parts, access, search }) {
      const page = decodeIndexPage(search)
      return json(
        renderPage(
          parts.core.indexes().filter(({ uid }) => matchesSomeIndexPattern(access.indexes, uid)),
          page,
        ),
      )
    },
  },
  {
    method: 'POST',
    path: '/indexes',
    action: 'indexes.create',
    async handle(call) {
      const { uid, primaryKey } = decodeIndexCreation(await readJson(call))
      checkIndex(call.access, uid)
      return write(call, uid, { kind: 'index-create', primaryKey })
    },
  },
  {
    method: 'GET',
    path: '/indexes/{uid}',
    action: 'indexes.get',
    handle(call) {
      const uid = pathUid(call)
      const index = call.parts.core.index(uid)
      if (index === undefined) throw indexNotFound(uid)
      return json(index)
    },
  },
  {
    method: 'PATCH',
    path: '/indexes/{uid}',
    action: 'indexes.update',
    async handle(call) {
      const update = decodeIndexUpdate(await readJson(call))
      if (update.uid !== null) checkIndex(call.access, update.uid)
      return write(call, pathUid(call), { kind: 'index-update', ...update })
    },
  },
  {
    method: 'DELETE',
    path: '/indexes/{uid}',
    action: 'indexes.delete',
    handle: (call) => write(call, pathUid(call), { kind: 'index-delete' }),
  },
  {
    method: 'GET',
    path: '/indexes/{uid}/stats',
    action: 'stats.get',
    async handle(call) {
      decodeStatsQuery(call.search)
      return json(await call.parts.core.indexStats(pathUid(call)))
    },
  },
  { method: 'POST', path: '/indexes/{uid}/fields', action: 'fields.post', handle: listFields },
  {
    method: 'POST',
    path: '/indexes/{uid}/compact',
    action: 'indexes.compact',
    handle: (call) => write(call, pathUid(call), { kind: 'index-compact' }),
  },
  {
    method: 'POST',
    path: '/swap-indexes',
    action: 'indexes.swap',
    async handle(call) {
      const swaps = decodeSwaps(await readJson(call))
      for (const { indexes } of swaps) for (const uid of indexes) checkIndex(call.access, uid)
      return write(call, null, { kind: 'index-swap', swaps })
    },
  },
  {
    method: 'GET',
    path: '/indexes/{uid}/settings',
    action: 'settings.get',
    handle: async (call) => json(renderSettings(await call.parts.core.settings(pathUid(call)), call.parts.features())),
  },
  {
    method: 'PATCH',
    path: '/indexes/{uid}/settings',
    action: 'settings.update',
    handle: async (call) => writeSettings(call, decodeSettings(await readJson(call), call.parts.features())),
  },
  {
    method: 'DELETE',
    path: '/indexes/{uid}/settings',
    action: 'settings.update',
    handle: (call) => writeSettings(call, resetSettings(undefined, call.parts.features())),
  },
  ...settingRoutes.flatMap(settingRoute),
]

function settingRoute({ name, path: part, method }: SettingRoute): readonly Route[] {
  const path = `/indexes/{uid}/settings/${part}`
  return [
    {
      method: 'GET',
      path,
      action: 'settings.get',
      handle: async (call) => json(renderSetting(await call.parts.core.settings(pathUid(call)), name)),
    },
    {
      method,
      path,
      action: 'settings.update',
      handle: async (call) => writeSettings(call, decodeSetting(name, await readJson(call), call.parts.features())),
    },
    {
      method: 'DELETE',
      path,
      action: 'settings.update',
      handle: (call) => writeSettings(call, resetSettings(name, call.parts.features())),
    },
  ]
}

function writeSettings(call: Call, settings: JsonObject): Promise<Answer> {
  return write(call, pathUid(call), { kind: 'settings', settings })
}

async function write(call: Call, uid: string | null, operation: EngineOperation): Promise<Answer> {
  const task = await call.parts.core.enqueue({
    uid,
    operation,
    customMetadata: null,
    allowIndexCreation: allows(call.access.actions, 'indexes.create'),
  })
  return accepted(task)
}

async function listFields(call: Call): Promise<Answer> {
  const query = decodeFieldsQuery(await readJson(call))
  return json(fieldsPage(await call.parts.core.fields(pathUid(call)), query))
}
