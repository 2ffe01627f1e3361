/** Webhooks of the instance (M-A8, M-C10). */
import { ApiError } from '../../api/errors.ts'
import {
  applyWebhook,
  decodeWebhook,
  decodeWebhookUuid,
  renderWebhook,
  tooManyWebhooks,
  type WebhookChange,
  type WebhookTarget,
  webhookNotFound,
  webhooksMax,
} from '../../api/webhook-body.ts'
import { isObject, type Json } from '../../lib/json.ts'
import type { EngineStore } from '../core.ts'
import { type Call, json, noContent, type Route, readJson } from './call.ts'

const prefix = 'webhook/'

/** By uuid. */
export function storedWebhooks(store: EngineStore): ReadonlyMap<string, WebhookTarget> {
  const found = new Map<string, WebhookTarget>()
  for (const { key, value } of store.list(prefix)) {
    const target = targetOf(value)
    if (target !== undefined) found.set(key.slice(prefix.length), target)
  }
  return found
}

function targetOf(value: Json): WebhookTarget | undefined {
  if (!isObject(value) || typeof value.url !== 'string' || !isObject(value.headers)) return undefined
  const headers = Object.entries(value.headers).map(([name, text]) => [name, String(text)])
  return { url: value.url, headers: Object.fromEntries(headers) }
}

const shown = (uuid: string, target: WebhookTarget) => renderWebhook({ uuid, isEditable: true, ...target })

function named({ parts, params }: Call): { readonly uuid: string; readonly target: WebhookTarget } {
  const uuid = decodeWebhookUuid(params[0] ?? '')
  const target = storedWebhooks(parts.core.store).get(uuid)
  if (target === undefined) throw webhookNotFound(uuid)
  return { uuid, target }
}

async function put({ parts }: Call, uuid: string, before: WebhookTarget | null, change: WebhookChange) {
  const target = applyWebhook(before, change, uuid)
  const fault = parts.egressFault(new URL(target.url))
  if (fault !== undefined) throw new ApiError('invalid_webhook_url', `Invalid URL \`${target.url}\`: ${fault}`)
  await parts.core.store.put(`${prefix}${uuid}`, { url: target.url, headers: target.headers })
  return shown(uuid, target)
}

export const webhookRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/webhooks',
    action: 'webhooks.get',
    handle: ({ parts }) =>
      json({ results: [...storedWebhooks(parts.core.store)].map(([uuid, target]) => shown(uuid, target)) }),
  },
  {
    method: 'POST',
    path: '/webhooks',
    action: 'webhooks.create',
    async handle(call) {
      const change = decodeWebhook(await readJson(call))
      const uuid = call.parts.random.uuid()
      if (storedWebhooks(call.parts.core.store).size >= webhooksMax) throw tooManyWebhooks()
      return json(await put(call, uuid, null, change), 201)
    },
  },
  {
    method: 'GET',
    path: '/webhooks/{uuid}',
    action: 'webhooks.get',
    handle(call) {
      const { uuid, target } = named(call)
      return json(shown(uuid, target))
    },
  },
  {
    method: 'PATCH',
    path: '/webhooks/{uuid}',
    action: 'webhooks.update',
    async handle(call) {
      decodeWebhookUuid(call.params[0] ?? '')
      const change = decodeWebhook(await readJson(call))
      const { uuid, target } = named(call)
      return json(await put(call, uuid, target, change))
    },
  },
  {
    method: 'DELETE',
    path: '/webhooks/{uuid}',
    action: 'webhooks.delete',
    async handle(call) {
      const { uuid } = named(call)
      await call.parts.core.store.delete(`${prefix}${uuid}`)
      return noContent
    },
  },
]
