/** The sealing key from a program of the operator's, such as the client of a KMS or of Vault. */
import { exec } from 'node:child_process'
import { parseSealingKey, type SealingKey } from './seal.ts'

/** The program failed, or printed something else. The message names neither what it printed nor the key. */
export class SealingCommandFailed extends Error {
  override readonly name = 'SealingCommandFailed'
}

const answerMsMax = 30_000
const outputBytesMax = 64 * 1024

/**
 * @param command  a line for the shell. It prints the key: 64 hex digits or base64 of 32 bytes.
 * @throws SealingCommandFailed
 */
export function runSealingCommand(command: string): Promise<SealingKey> {
  return new Promise((resolve, reject) => {
    const child = exec(command, { timeout: answerMsMax, maxBuffer: outputBytesMax }, (error, stdout, stderr) => {
      if (error !== null) {
        const code = error.killed === true ? 'no answer in time' : `exit code ${error.code ?? error.signal}`
        const said = stderr.trim().split('\n').at(-1) ?? ''
        reject(
          new SealingCommandFailed(`the command for the sealing key failed (${code})${said === '' ? '' : `: ${said}`}`),
        )
        return
      }
      try {
        resolve(parseSealingKey(stdout))
      } catch {
        reject(
          new SealingCommandFailed(
            'the command for the sealing key printed no key: expected 64 hex digits, or base64 of 32 bytes',
          ),
        )
      }
    })
    // Whoever asks for a passphrase would wait for ever.
    child.stdin?.end()
  })
}
