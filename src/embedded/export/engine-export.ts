/** An export: indexes of this engine are sent to another server, one after the other. Safe to repeat: documents are replaced by id. */
import { ApiError } from '../../api/errors.ts'
import type { ExportRule } from '../../api/export-body.ts'
import { completeFeatures } from '../../api/features.ts'
import { matchesIndexPattern } from '../../api/index-uid.ts'
import { revealSettings } from '../../api/settings.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import type { EngineOperation } from '../core.ts'
import type { RegistryEntry } from '../meta-env.ts'
import type { ExportTarget } from './export-target.ts'

export interface ExportSource {
  readonly indexes: readonly RegistryEntry[]
  /** Folded from all changes, secrets in clear. */
  readonly settings: (entry: RegistryEntry) => Promise<JsonObject>
  /** `dump-page` of the search workers, of what passes the filter. */
  readonly page: (entry: RegistryEntry, from: number, bytesMax: number, filter: Json) => Promise<Uint8Array>
}

export type ExportOperation = Extract<EngineOperation, { kind: 'export' }>

/** As in the reference with its default limit of bodies: 100 MB less 1 MiB would be held at once, twice. */
const payloadBytesDefault = 20 * 2 ** 20
const payloadBytesMax = 64 * 2 ** 20
const pageBytesMax = 4 * 2 ** 20

/** Answers `indexes` of the task's details: by index, with the count of documents. */
export async function exportEngine(
  { indexes: rules, payloadSize }: ExportOperation,
  source: ExportSource,
  target: ExportTarget,
): Promise<JsonObject> {
  const bytesMax = Math.min(payloadSize ?? payloadBytesDefault, payloadBytesMax)
  const sent: Record<string, JsonObject> = {}
  for (const entry of source.indexes) {
    const pattern = Object.keys(rules).find((each) => matchesIndexPattern(each, entry.uid))
    const rule = pattern === undefined ? undefined : (rules[pattern] as (ExportRule & JsonObject) | undefined)
    if (rule === undefined) continue
    sent[entry.uid] = { ...rule, matched_documents: await exportIndex(entry, rule, bytesMax, source, target) }
  }
  return sent
}

async function exportIndex(
  entry: RegistryEntry,
  { filter, overrideSettings }: ExportRule,
  bytesMax: number,
  source: ExportSource,
  target: ExportTarget,
): Promise<number> {
  const { uid, primaryKey } = entry
  const readPage = async (from: number) => {
    try {
      return await source.page(entry, from, Math.min(bytesMax, pageBytesMax), filter)
    } catch (error) {
      throw error instanceof ApiError ? new ApiError(error.code, `Index \`${uid}\`: ${error.message}`) : error
    }
  }
  // A filter that cannot be read leaves nothing behind on the other side.
  let page = await readPage(0)
  const isThere = await target.hasIndex(uid)
  if (!isThere) await target.send('POST', '/indexes', { uid, primaryKey })
  else if (overrideSettings) await target.send('PATCH', `/indexes/${uid}`, { primaryKey })
  if (!isThere || overrideSettings)
    await target.send('PATCH', `/indexes/${uid}/settings`, sentSettings(await source.settings(entry)))
  const payload = new Payload(bytesMax, (lines) => target.sendDocuments(uid, lines))
  for (;;) {
    const lineEnd = page.indexOf(10)
    const next = Buffer.from(page.subarray(0, lineEnd)).toString('latin1')
    await payload.add(page.subarray(lineEnd + 1))
    if (next === '') break
    page = await readPage(Number(next))
  }
  await payload.flush()
  return payload.count
}

/** All of them, so that what the other side has of its own is replaced; of features only those that are in use. */
function sentSettings(folded: JsonObject): JsonObject {
  const isOn = { foreignKeys: folded.foreignKeys !== undefined, chatCompletions: folded.chat !== undefined }
  return revealSettings(folded, completeFeatures(isOn))
}

/** Lines gathered up to a size; one line that is larger goes alone. */
class Payload {
  count = 0
  readonly #bytesMax: number
  readonly #send: (lines: Uint8Array) => Promise<void>
  #lines: Uint8Array[] = []
  #byteCount = 0

  constructor(bytesMax: number, send: (lines: Uint8Array) => Promise<void>) {
    this.#bytesMax = bytesMax
    this.#send = send
  }

  async add(ndjson: Uint8Array): Promise<void> {
    for (let start = 0; start < ndjson.length; ) {
      const end = ndjson.indexOf(10, start) + 1
      const line = ndjson.subarray(start, end)
      if (this.#byteCount > 0 && this.#byteCount + line.length > this.#bytesMax) await this.flush()
      this.#lines.push(line)
      this.#byteCount += line.length
      this.count += 1
      start = end
    }
  }

  async flush(): Promise<void> {
    if (this.#byteCount === 0) return
    const lines = Buffer.concat(this.#lines)
    this.#lines = []
    this.#byteCount = 0
    await this.#send(lines)
  }
}
