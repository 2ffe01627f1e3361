/** Settings of a project as operators write them: `reveal_keys=off`, `hosts=search.example.com`. */
import type { ProjectSettings } from '../store/catalogue.ts'

/** The message says what is wrong with what was written. */
export class SettingRefused extends Error {
  override readonly name = 'SettingRefused'
}

export type SettingName = 'reveal_keys' | 'allow_master_key' | 'cors_origins' | 'hosts'

const listMax = 50
const hostForm = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/

const changes: Readonly<Record<SettingName, (text: string) => Partial<ProjectSettings>>> = {
  reveal_keys: (text) => ({ revealKeys: readSwitch('reveal_keys', text) }),
  allow_master_key: (text) => ({ allowMasterKey: readSwitch('allow_master_key', text) }),
  cors_origins: (text) => ({ corsOrigins: text === '*' ? null : readList('cors_origins', text).map(readOrigin) }),
  hosts: (text) => ({ hosts: [...new Set(readList('hosts', text).map(readHost))] }),
}

/**
 * @param assignments  `name=value`; a later one of the same name wins. A list is separated by commas, and may be empty.
 * @throws SettingRefused
 */
export function readSettings(assignments: readonly string[]): Partial<ProjectSettings> {
  const settings = assignments.map((assignment) => {
    const at = assignment.indexOf('=')
    const name = assignment.slice(0, Math.max(0, at))
    if (!isSettingName(name)) {
      const names = Object.keys(changes).join(', ')
      throw new SettingRefused(`\`${assignment}\`: expected \`name=value\`, with one of ${names}`)
    }
    return changes[name](assignment.slice(at + 1))
  })
  return Object.assign({}, ...settings)
}

/** As they are written. */
export function showSettings(settings: ProjectSettings): Readonly<Record<SettingName, string>> {
  return {
    reveal_keys: settings.revealKeys ? 'on' : 'off',
    allow_master_key: settings.allowMasterKey ? 'on' : 'off',
    cors_origins: settings.corsOrigins === null ? '*' : settings.corsOrigins.join(','),
    hosts: settings.hosts.join(','),
  }
}

function isSettingName(name: string): name is SettingName {
  return Object.hasOwn(changes, name)
}

function readSwitch(name: SettingName, text: string): boolean {
  if (text === 'on' || text === 'true') return true
  if (text === 'off' || text === 'false') return false
  throw new SettingRefused(`\`${name}=${text}\`: expected \`on\` or \`off\``)
}

function readList(name: SettingName, text: string): readonly string[] {
  const parts = text.split(',').flatMap((part) => part.trim() || [])
  if (parts.length > listMax) throw new SettingRefused(`\`${name}\`: at most ${listMax}`)
  return parts
}

/** Exactly as browsers send it: scheme, host and a port that is not the scheme's own. */
function readOrigin(text: string): string {
  const origin = URL.canParse(text) ? new URL(text).origin : 'null'
  if (origin !== text.toLowerCase()) {
    throw new SettingRefused(`\`${text}\` is no origin: expected such as \`https://shop.example.com\``)
  }
  return origin
}

function readHost(text: string): string {
  const host = text.toLowerCase()
  if (!hostForm.test(host))
    throw new SettingRefused(`\`${text}\` is no host name: expected such as \`search.example.com\``)
  return host
}
