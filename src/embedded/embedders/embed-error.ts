/** Why texts did not become vectors, in the words of Meilisearch. */

export type Fault = 'user error' | 'runtime error' | 'error'

export class EmbedError extends Error {
  override readonly name = 'EmbedError'
  readonly fault: Fault
  /** Without the fault before it. */
  readonly what: string
  /** Of the answer, where there was one. */
  readonly status: number | null

  constructor(fault: Fault, what: string, status: number | null = null, options: ErrorOptions = {}) {
    super(`${fault}: ${what}`, options)
    this.fault = fault
    this.what = what
    this.status = status
  }
}

/** The first characters of a text that nothing here can embed. */
export function givenVectorsOnly(text: string): EmbedError {
  return new EmbedError(
    'user error',
    `attempt to embed the following text in a configuration where embeddings must be user provided:\n  - \`${[...text].slice(0, 250).join('')}\``,
  )
}

export function localModel(model: string): EmbedError {
  return new EmbedError(
    'user error',
    `this engine does not run models of Hugging Face itself, and so cannot embed with \`${model}\`\n  - Hint: let a server run the model and use source \`rest\` or \`ollama\`, or provide the vectors with the documents and queries`,
  )
}

const serverReply = (body: string): string => `\n  - server replied with \`${body}\``

type Origin = 'rest' | 'openAi' | 'ollama'
const servers: Record<Origin, string> = { rest: 'embedding', openAi: 'OpenAI', ollama: 'Ollama' }

/** A refusal by status, and how to go on after it. */
export function refusedBy(
  status: number,
  body: string,
  origin: Origin,
): { readonly error: EmbedError; readonly next: 'give-up' | 'retry' | 'wait' } {
  const reply = serverReply(body)
  const fail = (fault: Fault, what: string, next: 'give-up' | 'retry' | 'wait') => ({
    error: new EmbedError(fault, what, status),
    next,
  })
  if (status === 401) {
    const variables =
      origin === 'openAi' ? ', and the `MEILI_OPENAI_API_KEY` and `OPENAI_API_KEY` environment variables' : ''
    return fail(
      'user error',
      `could not authenticate against ${servers[origin]} server${reply}\n  - Hint: Check the \`apiKey\` parameter in the embedder configuration${variables}`,
      'give-up',
    )
  }
  if (status === 429) return fail('runtime error', `sent too many requests to embedding server${reply}`, 'wait')
  if (status === 400) {
    const hint =
      origin === 'rest'
        ? "\n  - Hint: check that the `request` in the embedder configuration matches the remote server's API"
        : ''
    return fail('user error', `sent a bad request to embedding server${hint}${reply}`, 'give-up')
  }
  if (status === 404 && origin === 'ollama')
    return fail(
      'user error',
      `model not found. Meilisearch will not automatically download models from the Ollama library, please pull the model manually${reply}`,
      'give-up',
    )
  if (status >= 500 && status <= 599)
    return fail('runtime error', `received internal error HTTP ${status} from embedding server${reply}`, 'retry')
  const isClientFault = status >= 402 && status <= 499
  return fail(
    'error',
    `received unexpected HTTP ${status} from embedding server${reply}`,
    isClientFault ? 'give-up' : 'retry',
  )
}

/** What is thrown may hold anything; vectors fail with this. */
export function toEmbedError(error: unknown): EmbedError {
  if (error instanceof EmbedError) return error
  return new EmbedError('runtime error', error instanceof Error ? error.message : String(error), null, { cause: error })
}
