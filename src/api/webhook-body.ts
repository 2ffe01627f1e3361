/** Bodies of the webhook routes (M-A8, M-C10). */
import type { Json } from '../lib/json.ts'
import { bodyRoot, nullable, object, record, string } from './decode.ts'
import { ApiError } from './errors.ts'
import { uuidMistake } from './key-body.ts'
import { maskHeaders } from './secrets.ts'

export const webhooksMax = 20
export const webhookHeadersMax = 200

export interface WebhookChange {
  /** undefined = unchanged. */
  readonly url: string | null | undefined
  /** null inside = remove that header; null = remove all. */
  readonly headers: Readonly<Record<string, string | null>> | null | undefined
}

export interface WebhookTarget {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

const change = object<WebhookChange>(
  {
    url: { decode: nullable(string), code: 'invalid_webhook_url', fallback: () => undefined },
    headers: {
      decode: nullable(record(nullable(string))),
      code: 'invalid_webhook_headers',
      fallback: () => undefined,
    },
  },
  { immutable: { uuid: 'immutable_webhook_uuid', isEditable: 'immutable_webhook_is_editable' } },
)

export function decodeWebhook(body: Json): WebhookChange {
  return change(body, bodyRoot)
}

/**
 * What a webhook is after `sent`.
 * @param before null = a new one.
 * @throws ApiError messages 80 and its kin. Whether the address may be called (M-H7) is judged elsewhere.
 */
export function applyWebhook(before: WebhookTarget | null, sent: WebhookChange, uuid: string): WebhookTarget {
  const url = sent.url === undefined ? before?.url : (sent.url ?? undefined)
  if (url === undefined) throw new ApiError('invalid_webhook_url', `The URL for the webhook \`${uuid}\` is missing.`)
  checkUrl(url)
  const headers = new Map<string, string>(sent.headers === null ? [] : Object.entries(before?.headers ?? {}))
  for (const [name, value] of Object.entries(sent.headers ?? {})) {
    if (value === null) headers.delete(name)
    else {
      if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name))
        throw new ApiError('invalid_webhook_headers', `Invalid header name \`${name}\`: invalid HTTP header name`)
      if (/[^\t\x20-\x7e\u0080-\uffff]/.test(value))
        throw new ApiError('invalid_webhook_headers', `Invalid header value \`${name}\`: failed to parse header value`)
      headers.set(name, value)
    }
  }
  if (headers.size > webhookHeadersMax)
    throw new ApiError(
      'invalid_webhook_headers',
      `Too many headers for the webhook \`${uuid}\`. Please limit the number of headers to 200. Hint: To remove an already defined header set its value to \`null\``,
    )
  return { url, headers: Object.fromEntries(headers) }
}

function checkUrl(url: string): void {
  if (!URL.canParse(url)) {
    const reason = /^[a-zA-Z][a-zA-Z0-9+.-]*:/.test(url)
      ? /^[a-zA-Z][a-zA-Z0-9+.-]*:\/*$/.test(url)
        ? 'empty host'
        : 'invalid international domain name'
      : 'relative URL without a base'
    throw new ApiError('invalid_webhook_url', `Invalid URL \`${url}\`: ${reason}`)
  }
}

/** A webhook as answers show it; `Authorization` masked. */
export function renderWebhook(webhook: WebhookTarget & { readonly uuid: string; readonly isEditable: boolean }) {
  return {
    uuid: webhook.uuid,
    isEditable: webhook.isEditable,
    url: webhook.url,
    headers: maskHeaders(webhook.headers),
  }
}

/** The id in a path. */
export function decodeWebhookUuid(text: string): string {
  const mistake = uuidMistake(text)
  if (mistake !== undefined) throw new ApiError('invalid_webhook_uuid', `Invalid UUID: ${mistake}`)
  return text.toLowerCase()
}

/** Message 77. */
export function webhookNotFound(uuid: string): ApiError {
  return new ApiError('webhook_not_found', `Webhook \`${uuid}\` not found.`)
}

/** Message 78. */
export function webhookImmutable(uuid: string): ApiError {
  return new ApiError(
    'immutable_webhook',
    `Webhook \`${uuid}\` is immutable. The webhook defined from the command line cannot be modified using the API.`,
  )
}

/** Message 79. */
export function tooManyWebhooks(): ApiError {
  return new ApiError(
    'invalid_webhooks',
    'Defining too many webhooks would crush the server. Please limit the number of webhooks to 20. You may use a third-party proxy server to dispatch events to more than 20 endpoints.',
  )
}
