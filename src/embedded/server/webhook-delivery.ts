/** Tells webhooks of finished tasks: one gzip NDJSON body per batch, one task a line, no second try (M-C10). */
import type { LookupFunction } from 'node:net'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { Agent, request } from 'undici'
import type { TaskView } from '../../api/tasks.ts'
import { exactText } from '../../lib/exact-numbers.ts'
import type { EngineStore } from '../core.ts'
import { storedWebhooks } from './webhook-routes.ts'

export interface Egress {
  /** Why an address may not be called; undefined = it may, as far as can be told without resolving its host. */
  fault(url: URL): string | undefined
  readonly lookup: LookupFunction
}

export interface WebhookDeliveryDeps {
  /** Known once the engine is open. */
  readonly store: () => EngineStore | undefined
  readonly egress: Egress
  readonly onFailure: (reason: string, uuid: string) => void
}

export interface WebhookDelivery {
  /** Does not wait and does not throw. */
  notify(tasks: readonly TaskView[]): void
  /** Ends calls in flight. */
  close(): Promise<void>
}

const compress = promisify(gzip)
/** Calls under way; what finishes while so many are is not told of. */
const callsMax = 100
const callTimeoutMs = 30_000

export function startWebhookDelivery({ store, egress, onFailure }: WebhookDeliveryDeps): WebhookDelivery {
  const stopping = new AbortController()
  const agent = new Agent({ connect: { lookup: egress.lookup } })
  const running = new Set<Promise<void>>()

  async function call(uuid: string, url: string, headers: Readonly<Record<string, string>>, body: Buffer) {
    try {
      const target = new URL(url)
      const fault = egress.fault(target)
      if (fault !== undefined) throw new Error(fault)
      const answer = await request(target, {
        dispatcher: agent,
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/x-ndjson', 'content-encoding': 'gzip' },
        body,
        signal: AbortSignal.any([stopping.signal, AbortSignal.timeout(callTimeoutMs)]),
      })
      await answer.body.dump()
      if (answer.statusCode >= 400) throw new Error(`status ${answer.statusCode}`)
    } catch (error) {
      if (!stopping.signal.aborted) onFailure(error instanceof Error ? error.message : String(error), uuid)
    }
  }

  async function deliver(tasks: readonly TaskView[], webhooks: ReturnType<typeof storedWebhooks>): Promise<void> {
    const body = await compress(tasks.map((task) => `${exactText(JSON.stringify(task))}\n`).join(''))
    await Promise.all([...webhooks].map(([uuid, { url, headers }]) => call(uuid, url, headers, body)))
  }

  return {
    notify(tasks) {
      const known = store()
      const webhooks = known === undefined ? undefined : storedWebhooks(known)
      if (webhooks === undefined || webhooks.size === 0 || tasks.length === 0 || running.size >= callsMax) return
      const delivery = deliver(tasks, webhooks).finally(() => running.delete(delivery))
      running.add(delivery)
    },
    async close() {
      stopping.abort()
      await Promise.allSettled([...running])
      await agent.destroy()
    },
  }
}
