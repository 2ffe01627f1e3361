/** `/logs/*` (M-A8). Requests are judged as the reference judges them; this engine has no log levels to change. */
import { type At, bodyRoot, boolean, object, oneOf, optional, string } from '../../api/decode.ts'
import { ApiError } from '../../api/errors.ts'
import { featureNotEnabled } from '../../api/features.ts'
import { type Call, noContent, type Route, readJson } from './call.ts'

function check({ parts }: Call): void {
  if (!parts.features().logsRoute) throw featureNotEnabled('logsRoute', 'Modifying logs through the `/logs/*` routes')
}

const target = (value: Parameters<typeof string>[0], at: At): string => {
  const text = string(value, at)
  for (const directive of text.split(',')) {
    if (directive.split('=').length > 2)
      throw new ApiError(
        'bad_request',
        `Invalid value at \`${at.path}\`: invalid filter directive: too many '=' in filter directive, expected 0 or 1`,
      )
  }
  return text
}

const stderrBody = object<{ target: string }>({ target: optional(target, 'info') })
const streamBody = object<{ target: string; mode: string; profileMemory: boolean }>({
  target: optional(target, 'info'),
  mode: optional(oneOf('human', 'json', 'profile'), 'human'),
  profileMemory: optional(boolean, false),
})

export const logRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/logs/stderr',
    action: 'metrics.get',
    async handle(call) {
      stderrBody(await readJson(call), bodyRoot)
      check(call)
      return noContent
    },
  },
  {
    method: 'POST',
    path: '/logs/stream',
    action: 'metrics.get',
    async handle(call) {
      const { mode, profileMemory } = streamBody(await readJson(call), bodyRoot)
      if (profileMemory && mode !== 'profile')
        throw new ApiError(
          'bad_request',
          `Invalid value: \`profile_memory\` can only be used while profiling code and is not compatible with the ${mode === 'json' ? 'Json' : 'Human'} mode.`,
        )
      check(call)
      // Nothing is written that a stream could show.
      return { status: 200, body: '' }
    },
  },
  {
    method: 'DELETE',
    path: '/logs/stream',
    action: 'metrics.get',
    handle(call) {
      check(call)
      return noContent
    },
  },
]
