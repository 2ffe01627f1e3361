/** A key's value: derived from the project's secret and the key's uid, never stored (M-G2, P-04). */
import { createHmac } from 'node:crypto'

/** The value of the key `uid`: 64 hexadecimal digits. */
export function keyValue(masterKey: string, uid: string): string {
  return createHmac('sha256', masterKey).update(uid.toLowerCase()).digest('hex')
}

/** Secret scanners find keys by these; both are optional on input. */
const keyPrefix = /^fj_(live|test)_/

/** What is looked up for a credential as sent. */
export function plainCredential(credential: string): string {
  return credential.startsWith('fj_') ? credential.replace(keyPrefix, '') : credential
}

/** The secrets with which a tenant token of this key may be signed. */
export function signingSecrets(value: string): readonly string[] {
  return [value, `fj_live_${value}`, `fj_test_${value}`]
}
