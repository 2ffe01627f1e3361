/** Webhooks of the project (M-A8, M-C10). */
import { ApiError } from '../api/errors.ts'
import {
  applyWebhook,
  decodeWebhook,
  decodeWebhookUuid,
  renderWebhook,
  tooManyWebhooks,
  type WebhookChange,
  webhookImmutable,
  webhookNotFound,
} from '../api/webhook-body.ts'
import type { Webhook } from '../store/catalogue.ts'
import { empty, json } from './answer.ts'
import { type Call, type Handler, param } from './exchange.ts'
import { readJson } from './request-body.ts'

function jsonBody(call: Call) {
  return readJson(call.exchange.request, call.headers, call.parts.limits.bodyBytesMax)
}

async function namedWebhook(call: Call): Promise<Webhook> {
  const uuid = decodeWebhookUuid(param(call, 'webhook'))
  const webhooks = await call.parts.catalogue.webhooks(call.principal.project.id)
  const webhook = webhooks.find((candidate) => candidate.uuid === uuid)
  if (webhook === undefined) throw webhookNotFound(uuid)
  return webhook
}

/** Stores what the webhook is after the change. Its address must lead out of our network (P-08, M-H7). */
async function store(call: Call, uuid: string, before: Webhook | null, change: WebhookChange): Promise<Webhook> {
  const target = applyWebhook(before, change, uuid)
  const fault = call.parts.egress.fault(new URL(target.url))
  if (fault !== undefined) throw new ApiError('invalid_webhook_url', `Invalid URL \`${target.url}\`: ${fault}`)
  const webhook = { project: call.principal.project.id, uuid, isEditable: true, ...target }
  if ((await call.parts.catalogue.putWebhook(webhook)) === 'too-many') throw tooManyWebhooks()
  return webhook
}

/** `GET /webhooks`. */
export const listWebhooks: Handler = async (call) => {
  const webhooks = await call.parts.catalogue.webhooks(call.principal.project.id)
  return json(200, { results: webhooks.map(renderWebhook) })
}

/** `POST /webhooks`. */
export const createWebhook: Handler = async (call) => {
  const change = decodeWebhook(await jsonBody(call))
  return json(201, renderWebhook(await store(call, call.parts.random.uuid(), null, change)))
}

/** `GET /webhooks/{webhook}`. */
export const readWebhook: Handler = async (call) => json(200, renderWebhook(await namedWebhook(call)))

/** `PATCH /webhooks/{webhook}`. */
export const updateWebhook: Handler = async (call) => {
  const change = decodeWebhook(await jsonBody(call))
  const webhook = await namedWebhook(call)
  if (!webhook.isEditable) throw webhookImmutable(webhook.uuid)
  return json(200, renderWebhook(await store(call, webhook.uuid, webhook, change)))
}

/** `DELETE /webhooks/{webhook}`. */
export const deleteWebhook: Handler = async (call) => {
  const webhook = await namedWebhook(call)
  if (!webhook.isEditable) throw webhookImmutable(webhook.uuid)
  await call.parts.catalogue.deleteWebhook(webhook.project, webhook.uuid)
  return empty(204)
}
