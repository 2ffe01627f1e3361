/** Which task errors say that the node is ill rather than that the change is bad (NF-22, NF-32). */
import type { ErrorBody } from '../api/errors.ts'

const illCodes = new Set(['io_error', 'no_space_left_on_device', 'remote_could_not_send_request', 'remote_timeout'])
/** Texts of the operating system inside an `internal` error. */
const systemText =
  /os error|no space left|input\/output error|permission denied|too many open files|read-only file system/i
const unreachableText = /could not reach|connection|timed? ?out|dns|unreachable|network/i

export function isNodeTrouble(error: ErrorBody): boolean {
  if (illCodes.has(error.code)) return true
  if (error.code === 'internal') return systemText.test(error.message)
  return error.code === 'vector_embedding_error' && unreachableText.test(error.message)
}
