/** One question to a node: is it there, and is it itself (P-38)? */
import { request } from 'undici'
import type { Clock } from '../../lib/clock.ts'
import { isObject, type Json } from '../../lib/json.ts'
import type { Sight } from '../../topology/health-states.ts'

export interface ProbeOutcome {
  readonly probe: Sight['probe']
  readonly tookMs: number
  /** What was wrong; null = nothing. */
  readonly reason: string | null
}

export interface ProbeDeps {
  readonly clock: Pick<Clock, 'now' | 'monotonic'>
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** P-38; the header of an answer has whole seconds. */
const skewMsMax = 5_000 + 1_000
const answerBytesMax = 4_096

/** `GET /health`, which wants no key. Never throws. */
export async function probeNode(url: string, { clock, timeoutMs, signal }: ProbeDeps): Promise<ProbeOutcome> {
  const startedAt = clock.monotonic()
  const outcome = (probe: Sight['probe'], reason: string | null): ProbeOutcome => {
    return { probe, tookMs: clock.monotonic() - startedAt, reason }
  }
  const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
  try {
    const { statusCode, headers, body } = await request(`${url}/health`, { signal: limit })
    const text = await readShort(body)
    if (statusCode !== 200) return outcome('bad', `it answers ${statusCode}`)
    if (!isAvailable(text)) return outcome('bad', 'its answer is not that of an engine')
    const date = Date.parse(String(headers.date))
    const skewMs = Number.isNaN(date) ? 0 : Math.abs(date - clock.now())
    if (skewMs > skewMsMax) return outcome('skewed', `its clock is ${Math.round(skewMs / 1000)} s off`)
    return outcome('good', null)
  } catch (error) {
    if (limit.aborted && !signal.aborted) return outcome('bad', `it did not answer within ${timeoutMs} ms`)
    return outcome('bad', error instanceof Error ? error.message || error.name : String(error))
  }
}

async function readShort(body: AsyncIterable<Uint8Array>): Promise<string> {
  let text = ''
  for await (const chunk of body) {
    text += Buffer.from(chunk).toString('utf8')
    if (text.length > answerBytesMax) return ''
  }
  return text
}

function isAvailable(text: string): boolean {
  try {
    const value = JSON.parse(text) as Json
    return isObject(value) && value.status === 'available'
  } catch {
    return false
  }
}
