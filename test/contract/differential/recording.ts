/**
 * Answers of a real Meilisearch, kept as data: one line of JSON for each world, gzipped. Corpora, settings and questions are
 * made anew from the seed; a fingerprint of them tells when a recording no longer fits its generator.
 */
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { gunzipSync, gzipSync } from 'node:zlib'
import type { Answer } from './comparison.ts'
import type { World } from './worlds.ts'

export interface RecordedWorld {
  readonly uid: string
  readonly fingerprint: string
  /** One for each question, in their order. */
  readonly answers: readonly Answer[]
}

export interface Recording {
  readonly seed: number
  /** Of the server that answered. */
  readonly version: string
  readonly worlds: readonly RecordedWorld[]
}

/** Of everything that the answers depend on. */
export function fingerprintOf({ documents, settings, more, questions }: World): string {
  return createHash('sha256')
    .update(JSON.stringify([documents, settings, more, questions]))
    .digest('hex')
    .slice(0, 16)
}

export function writeRecording(path: string, { seed, version, worlds }: Recording): void {
  const lines = [{ seed, version }, ...worlds].map((line) => JSON.stringify(line))
  writeFileSync(path, gzipSync(`${lines.join('\n')}\n`, { level: 9 }))
}

export function readRecording(path: string): Recording {
  const [head, ...worlds] = gunzipSync(readFileSync(path)).toString().trim().split('\n')
  return { ...JSON.parse(head ?? ''), worlds: worlds.map((line) => JSON.parse(line)) }
}
