/** A certificate and its key in files, which somebody else renews: what they hold at any time is used. */
import { readFile } from 'node:fs/promises'
import { createSecureContext, type SecureVersion } from 'node:tls'
import type { Clock } from './clock.ts'

export interface TlsFiles {
  /** PEM: the certificate, then those that lead to a root. */
  readonly certFile: string
  /** PEM. */
  readonly keyFile: string
}

export interface TlsPair {
  readonly cert: Buffer
  readonly key: Buffer
}

export interface TlsLog {
  info(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** A file cannot be read, or holds nothing that can be used. The message names it. */
export class CertificateUnusable extends Error {
  override readonly name = 'CertificateUnusable'
}

const oldest: SecureVersion = 'TLSv1.2'
export const tlsOptions = { minVersion: oldest }
const lookAgainMs = 1_000

/** @throws CertificateUnusable */
export async function readTlsFiles({ certFile, keyFile }: TlsFiles): Promise<TlsPair> {
  try {
    const [cert, key] = await Promise.all([readFile(certFile), readFile(keyFile)])
    // Throws when they are no PEM, or the key is another certificate's.
    createSecureContext({ cert, key })
    return { cert, key }
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new CertificateUnusable(`${certFile} and ${keyFile} cannot be used: ${why}`, { cause })
  }
}

/**
 * Hands on what the files hold whenever it changes and can be used: half of a renewal (one file of two) is not.
 *
 * @returns how to stop.
 */
export function followTlsFiles(
  files: TlsFiles,
  first: TlsPair,
  {
    clock,
    log,
    use,
  }: { readonly clock: Pick<Clock, 'sleep'>; readonly log: TlsLog | undefined; readonly use: (pair: TlsPair) => void },
): () => void {
  const stopping = new AbortController()
  let current = first
  let told = ''

  async function look(): Promise<void> {
    try {
      const found = await readTlsFiles(files)
      told = ''
      if (found.cert.equals(current.cert) && found.key.equals(current.key)) return
      current = found
      use(found)
      log?.info({ certFile: files.certFile }, 'another certificate is in use')
    } catch (error) {
      // Once for each trouble: the one in use goes on.
      if (String(error) !== told) log?.error({ err: error }, 'the certificate was changed and cannot be used')
      told = String(error)
    }
  }

  async function follow(): Promise<void> {
    for (;;) {
      await clock.sleep(lookAgainMs, stopping.signal)
      await look()
    }
  }
  follow().catch(() => undefined)
  return () => stopping.abort(new Error('closed'))
}
