/**
 * Tells webhooks of finished tasks: one gzip NDJSON body per project and stretch of tasks, one TaskView a line (M-C10).
 *
 * The journal keeps how far each project's feed was sent. The cursor is saved before a stretch is sent, so that a crash
 * loses a call rather than repeating it: like the reference, there is no retry.
 */
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { Agent, request } from 'undici'
import type { TaskView } from '../api/tasks.ts'
import type { Journal } from '../journal/ports.ts'
import type { Clock } from '../lib/clock.ts'
import type { EgressPolicy } from '../lib/egress-policy.ts'
import { SealBroken } from '../lib/seal.ts'
import type { ProjectId, Webhook } from '../store/catalogue.ts'
import type { Catalogue } from '../store/ports.ts'

const compress = promisify(gzip)
const consumer = 'webhooks'
const tasksPerCallMax = 1_000
const projectsPerRoundMax = 100
const pollMs = 1_000
const callTimeoutMs = 30_000

export interface WebhookLog {
  warn(fields: object, message: string): void
}

export interface WebhookSenderDeps {
  readonly journal: Pick<Journal, 'feedsBehind' | 'finishedAfter' | 'saveFeedCursor' | 'onFinished'>
  readonly catalogue: Pick<Catalogue, 'webhooks'>
  readonly egress: EgressPolicy
  readonly clock: Pick<Clock, 'sleep'>
  readonly log: WebhookLog
}

export interface WebhookSender {
  /** Ends the loop and calls in flight. */
  stop(): Promise<void>
}

/** One sender per installation is enough; it runs beside the worker. */
export function startWebhookSender(deps: WebhookSenderDeps): WebhookSender {
  const stopping = new AbortController()
  const agent = new Agent({ connect: { lookup: deps.egress.lookup } })
  let wake: () => void = () => undefined
  const unsubscribe = deps.journal.onFinished(() => wake())
  unsubscribe.catch(() => undefined)

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const pause = new AbortController()
      wake = () => pause.abort()
      try {
        if (await sendRound(deps, agent, stopping.signal)) continue
      } catch (error) {
        if (!stopping.signal.aborted) deps.log.warn({ err: error }, 'webhooks are late: the journal did not answer')
      }
      await deps.clock.sleep(pollMs, pause.signal).catch(() => undefined)
    }
  }

  const running = run()
  return {
    async stop() {
      stopping.abort()
      wake()
      await running
      await unsubscribe.then((stop) => stop()).catch(() => undefined)
      await agent.destroy()
    },
  }
}

/** One stretch of each project that has news. Answers whether there may be more. */
async function sendRound(deps: WebhookSenderDeps, agent: Agent, signal: AbortSignal): Promise<boolean> {
  const feeds = await deps.journal.feedsBehind(consumer, projectsPerRoundMax)
  // Side by side, so that one project's slow receiver does not keep the others waiting.
  const moved = await Promise.all(feeds.map((feed) => sendFeed(deps, agent, feed, signal)))
  return moved.includes(true)
}

async function sendFeed(
  deps: WebhookSenderDeps,
  agent: Agent,
  feed: { readonly project: ProjectId; readonly cursor: number },
  signal: AbortSignal,
): Promise<boolean> {
  if (signal.aborted) return false
  const { tasks, cursor } = await deps.journal.finishedAfter(feed.project, feed.cursor, tasksPerCallMax)
  if (cursor === feed.cursor) return false
  await deps.journal.saveFeedCursor(consumer, feed.project, cursor)
  const webhooks = await readableWebhooks(deps, feed.project)
  if (webhooks.length === 0 || tasks.length === 0) return true
  const body = await encodeTasks(tasks)
  await Promise.all(webhooks.map((webhook) => call(deps, agent, webhook, body, signal)))
  return true
}

/** None when one of them does not open, which the store's log tells: other projects' are called. */
async function readableWebhooks({ catalogue }: WebhookSenderDeps, project: ProjectId): Promise<readonly Webhook[]> {
  try {
    return await catalogue.webhooks(project)
  } catch (error) {
    if (error instanceof SealBroken) return []
    throw error
  }
}

/** The body of a call: gzip of one TaskView a line. */
export function encodeTasks(tasks: readonly TaskView[]): Promise<Buffer> {
  return compress(tasks.map((task) => `${JSON.stringify(task)}\n`).join(''))
}

async function call(
  { egress, log }: WebhookSenderDeps,
  agent: Agent,
  webhook: Webhook,
  body: Buffer,
  signal: AbortSignal,
): Promise<void> {
  const url = new URL(webhook.url)
  const fault = egress.fault(url)
  try {
    if (fault !== undefined) throw new Error(fault)
    const answer = await request(url, {
      dispatcher: agent,
      method: 'POST',
      headers: { ...webhook.headers, 'content-type': 'application/x-ndjson', 'content-encoding': 'gzip' },
      body,
      signal: AbortSignal.any([signal, AbortSignal.timeout(callTimeoutMs)]),
    })
    await answer.body.dump()
    if (answer.statusCode >= 400) throw new Error(`status ${answer.statusCode}`)
  } catch (error) {
    if (signal.aborted) return
    const reason = error instanceof Error ? error.message : String(error)
    log.warn({ project: webhook.project, webhook: webhook.uuid, reason }, 'webhook: the call failed')
  }
}
