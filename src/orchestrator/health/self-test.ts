/** Whether an engine can do what a node must (P-37): an index is made, filled, searched in and deleted before it is one. */
import type { Engine, EngineReply } from '../../engine/engine.ts'
import type { Clock } from '../../lib/clock.ts'

const probeIndex = 'flapjack_self_test'
const taskMsMax = 30_000
const pollMs = 50

/** `undefined` = it can. Safe to repeat: what an earlier run left is deleted first. */
export async function selfTest(
  engine: Engine,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<string | undefined> {
  async function* documents(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('{"id":1,"text":"flapjack"}\n')
  }
  const options = { merge: false, primaryKey: 'id', mark: 'self-test' }
  const faults = [
    // There is none, usually: how that ends does not matter.
    () => task(engine.deleteIndex(probeIndex, signal), 'delete an index', true),
    () => task(engine.createIndex(probeIndex, 'id', signal), 'create an index'),
    () => task(engine.putDocuments(probeIndex, options, documents(), signal), 'take a document'),
    async () => {
      const found = await engine.fetchDocuments(probeIndex, { limit: 2 }, signal)
      if (found.kind !== 'answered') return `it cannot be read: ${reasonOf(found)}`
      return found.value.total === 1 ? undefined : `it shows ${found.value.total} documents of one`
    },
    () => task(engine.deleteIndex(probeIndex, signal), 'delete an index'),
  ]
  for (const look of faults) {
    const fault = await look()
    if (fault !== undefined) return fault
  }
  return undefined

  async function task(asked: Promise<EngineReply<number>>, what: string, mayFail = false): Promise<string | undefined> {
    const reply = await asked
    if (reply.kind !== 'answered')
      return mayFail && reply.kind === 'refused' ? undefined : `it cannot ${what}: ${reasonOf(reply)}`
    const deadline = clock.monotonic() + taskMsMax
    while (clock.monotonic() < deadline) {
      const tasks = await engine.tasks([reply.value], signal)
      const [found] = tasks.kind === 'answered' ? tasks.value : []
      if (found?.status === 'succeeded' || (mayFail && found?.status === 'failed')) return undefined
      if (found?.status === 'failed') return `it cannot ${what}: ${found.error?.message ?? 'no reason was given'}`
      await clock.sleep(pollMs, signal)
    }
    return `it takes more than ${taskMsMax / 1000} s to ${what}`
  }
}

function reasonOf(reply: Exclude<EngineReply<unknown>, { readonly kind: 'answered' }>): string {
  return reply.kind === 'refused' ? reply.error.message : reply.reason
}
