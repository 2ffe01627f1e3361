/** What a request to edit documents must be before it becomes a task. */
import { ApiError } from '../../api/errors.ts'
import { splitMembers } from '../../lib/json-cut.ts'
import { checkFunction, functionTextMax, SyntaxMistake } from './edit-function.ts'

/** As the reference does when the request arrives. @throws ApiError `bad_request` */
export function checkEditFunction(text: string): void {
  if (text.length > functionTextMax)
    throw new ApiError('bad_request', `The function is longer than ${functionTextMax} characters.`)
  try {
    checkFunction(text)
  } catch (error) {
    if (error instanceof SyntaxMistake) throw new ApiError('bad_request', error.message)
    throw error
  }
}

/** The context as it was sent, since numbers lose their kind and digits when they are parsed. */
export function contextTextOf(body: Uint8Array): { readonly contextText?: string } {
  const text = splitMembers(Buffer.from(body).toString()).get('context')
  return text === undefined || text === 'null' ? {} : { contextText: text }
}
