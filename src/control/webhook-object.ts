/** The webhook object of `/webhooks` (M-C10, M-A8). */
import { bodyRoot, type Decoder, nullable, object, record, string } from '../api/decode.ts'
import { ApiError } from '../api/errors.ts'
import { maskHeaders } from '../api/secrets.ts'
import type { Json } from '../lib/json.ts'
import type { Webhook } from '../store/catalogue.ts'
import type { EgressPolicy } from './egress-policy.ts'

export const webhookHeadersMax = 200

export interface WebhookBody {
  readonly url: string | null | undefined
  /** A header set to null is removed. */
  readonly headers: Readonly<Record<string, string | null>> | null | undefined
}

const body: Decoder<WebhookBody> = object<WebhookBody>(
  {
    url: { decode: nullable(string), code: 'invalid_webhook_url', fallback: () => undefined },
    headers: { decode: nullable(record(nullable(string))), code: 'invalid_webhook_headers', fallback: () => undefined },
  },
  { immutable: { uuid: 'immutable_webhook_uuid', isEditable: 'immutable_webhook_is_editable' } },
)

export function decodeWebhook(value: Json): WebhookBody {
  return body(value, bodyRoot)
}

/**
 * The webhook after a change.
 * @throws ApiError `invalid_webhook_url`, `invalid_webhook_headers`, `immutable_webhook` (messages 78, 80).
 */
export function changeWebhook(
  webhook: Webhook | { readonly uuid: string; readonly project: string },
  change: WebhookBody,
  egress: EgressPolicy,
): Webhook {
  const before: Webhook = 'url' in webhook ? webhook : { ...webhook, url: '', headers: {}, isEditable: true }
  if (!before.isEditable) throw immutableWebhook(before.uuid)
  const url = change.url === undefined ? before.url : (change.url ?? '')
  if (url === '') throw new ApiError('invalid_webhook_url', `The URL for the webhook \`${before.uuid}\` is missing.`)
  checkUrl(url, egress)
  const headers = { ...before.headers }
  for (const [name, value] of Object.entries(change.headers ?? {})) {
    if (value === null) delete headers[name]
    else headers[name] = checkedHeader(before.uuid, name, value)
  }
  if (Object.keys(headers).length > webhookHeadersMax) {
    throw new ApiError(
      'invalid_webhook_headers',
      `Too many headers for the webhook \`${before.uuid}\`. Please limit the number of headers to ${webhookHeadersMax}. Hint: To remove an already defined header set its value to \`null\``,
    )
  }
  return { project: before.project, uuid: before.uuid, url, headers, isEditable: true }
}

export function immutableWebhook(uuid: string): ApiError {
  return new ApiError(
    'immutable_webhook',
    `Webhook \`${uuid}\` is immutable. The webhook defined from the command line cannot be modified using the API.`,
  )
}

function checkUrl(text: string, egress: EgressPolicy): void {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw new ApiError('invalid_webhook_url', `Invalid URL \`${text}\`: relative URL without a base`)
  }
  const fault = egress.fault(url)
  if (fault !== undefined) throw new ApiError('invalid_webhook_url', `Invalid URL \`${text}\`: ${fault}`)
}

function checkedHeader(uuid: string, name: string, value: string): string {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) {
    throw new ApiError(
      'invalid_webhook_headers',
      `Invalid header name \`${name}\` for the webhook \`${uuid}\`: invalid HTTP header name`,
    )
  }
  if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) {
    throw new ApiError(
      'invalid_webhook_headers',
      `Invalid header value \`${name}\` for the webhook \`${uuid}\`: failed to parse header value`,
    )
  }
  return value
}

/** The webhook as `/webhooks` shows it; the authorization header is masked (M-G6). */
export function encodeWebhook({ uuid, isEditable, url, headers }: Webhook) {
  return { uuid, isEditable, url, headers: maskHeaders(headers) }
}
