/**
 * The typed configuration. Flags win over the environment, the environment over the file, the file over defaults.
 * Every mistake is reported, with the place it was found, before anything starts.
 */
import { readFileSync } from 'node:fs'
import { parseDocument } from 'yaml'
import { isObject } from '../lib/json.ts'
import { configTable } from './config-table.ts'
import type { Decoded, Field } from './field.ts'
import { fleetMistakes } from './fleet-fields.ts'
import { Secret } from './secret.ts'

type Table = typeof configTable
/** Of a field, or of a group of them. */
type ValueOf<F> = F extends Field<infer T> ? T : { readonly [N in keyof F]: ValueOf<F[N]> }

/** What each field means is said once, in `configTable`. */
export type Config = { readonly [S in keyof Table]: { readonly [F in keyof Table[S]]: ValueOf<Table[S][F]> } }

export type Environment = Readonly<Record<string, string | undefined>>

export interface ConfigSources {
  readonly env: Environment
  /** Values of command-line options by long name, as commander gives them (camel case). */
  readonly flags: Readonly<Record<string, unknown>>
  /** The file to read. Absent: `flapjack.yaml` in the working folder, if there is one. */
  readonly file?: string
}

/** All mistakes of a configuration, one per line. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly mistakes: readonly string[]

  constructor(mistakes: readonly string[]) {
    super(mistakes.join('\n'))
    this.mistakes = mistakes
  }
}

export interface FieldEntry {
  /** As written in the file, for example `http.body_bytes_max` or `cluster.hedging.enabled`. */
  readonly path: string
  readonly section: keyof Table
  /** The group of a field that is inside one. */
  readonly group: string | undefined
  readonly name: string
  readonly field: Field<unknown>
}

/** Every field in table order. */
export const configFields: readonly FieldEntry[] = Object.entries(configTable).flatMap(([section, fields]) =>
  fieldsOf(section as keyof Table, undefined, fields),
)

type Group = { readonly [name: string]: Field<unknown> | Group }

function fieldsOf(section: keyof Table, group: string | undefined, fields: Group): readonly FieldEntry[] {
  return Object.entries(fields).flatMap(([name, entry]) => {
    if (!isField(entry)) return fieldsOf(section, name, entry)
    const path = [section, ...(group === undefined ? [] : [group]), name].map(snakeCase).join('.')
    return [{ path, section, group, name, field: entry }]
  })
}

function isField(entry: Field<unknown> | Group): entry is Field<unknown> {
  return 'decoder' in entry
}

/** Reads file, environment and flags. @throws ConfigError with every mistake at once. */
export function loadConfig(sources: ConfigSources): Config {
  const mistakes: string[] = []
  const tree = readTree(sources.file, mistakes)
  const config: Record<string, Record<string, unknown>> = {}
  for (const entry of configFields) {
    const { section, group, name } = entry
    const value = readField(entry, tree, sources, mistakes)
    const known = config[section] ?? {}
    config[section] =
      group === undefined
        ? { ...known, [name]: value }
        : { ...known, [group]: { ...objectAt(known, group), [name]: value } }
  }
  reportUnknown(tree, mistakes)
  reportUnknownEnvironment(sources.env, mistakes)
  if (mistakes.length > 0) throw new ConfigError(mistakes)
  // Built from the same table that the type is made of.
  return checkTogether(config as Config)
}

/** The variables that give a gateway process of ours the same configuration, except for what it has no use for. */
export function configEnvironment(config: Config): Readonly<Record<string, string>> {
  const variables: Record<string, string> = {}
  for (const { section, group, name, field } of configFields) {
    const variable = field.env[0]
    const fields = objectAt(config, section)
    const value = (group === undefined ? fields : objectAt(fields, group))[name]
    if (
      section === 'project' ||
      section === 'worker' ||
      section === 'standalone' ||
      section === 'fleet' ||
      !variable ||
      value === null ||
      value === undefined
    )
      continue
    variables[variable] = valueText(value)
  }
  return variables
}

function valueText(value: unknown): string {
  if (value instanceof Secret) return value.reveal()
  if (typeof value === 'object' && value !== null && 'host' in value && 'port' in value) {
    const host = String(value.host)
    return `${host.includes(':') ? `[${host}]` : host}:${value.port}`
  }
  return Array.isArray(value) ? value.join(',') : String(value)
}

function readField(
  { path, section, group, name, field }: FieldEntry,
  tree: Readonly<Record<string, unknown>>,
  { env, flags }: ConfigSources,
  mistakes: string[],
): unknown {
  const answer = (origin: string, decoded: Decoded<unknown>, shown: string) => {
    if ('value' in decoded) return decoded.value
    mistakes.push(`${origin}: expected ${decoded.expected}, found ${shown}`)
    return field.initial
  }
  const isSecret = field.decoder.accepts.includes('secret')
  const show = (raw: unknown) => (isSecret ? 'something else' : `\`${String(raw)}\``)
  const flag = field.flag && flags[camelCase(field.flag)]
  if (flag !== undefined && flag !== '') return answer(`--${field.flag}`, field.decoder.decode(flag), show(flag))
  for (const variable of field.env) {
    const raw = env[variable]
    if (raw !== undefined && raw !== '') return answer(variable, field.decoder.decode(raw), show(raw))
  }
  const inFile = objectAt(tree, section)
  const fromFile = (group === undefined ? inFile : objectAt(inFile, snakeCase(group)))[snakeCase(name)]
  if (fromFile !== undefined) return answer(path, field.decoder.decode(fromFile), show(fromFile))
  return field.initial
}

/** What single fields cannot say. */
function checkTogether(config: Config): Config {
  const mistakes: string[] = []
  if (config.engine.key && !config.engine.url) mistakes.push('engine.key: needs `engine.url`')
  if (config.project.taskWebhookAuthorization && !config.project.taskWebhookUrl) {
    mistakes.push('project.task_webhook_authorization: needs `project.task_webhook_url`')
  }
  if (config.limits.redisUrl && !/^rediss?:\/\/./.test(config.limits.redisUrl.reveal())) {
    mistakes.push('limits.redis_url: expected `redis://` or `rediss://`')
  }
  const { s3AccessKey, s3SecretKey } = config.backups
  if (s3AccessKey !== null && s3SecretKey === null)
    mistakes.push('backups.s3_access_key: needs `backups.s3_secret_key`')
  if (s3SecretKey !== null && s3AccessKey === null)
    mistakes.push('backups.s3_secret_key: needs `backups.s3_access_key`')
  const { certFile, keyFile, redirectAddress } = config.tls
  if (certFile !== null && keyFile === null) mistakes.push('tls.cert_file: needs `tls.key_file`')
  if (keyFile !== null && certFile === null) mistakes.push('tls.key_file: needs `tls.cert_file`')
  if (redirectAddress !== null && certFile === null) mistakes.push('tls.redirect_address: needs `tls.cert_file`')
  if (config.store.sealingKey && config.store.sealingKeyCommand !== null) {
    mistakes.push('store.sealing_key_command: excludes `store.sealing_key`')
  }
  mistakes.push(...fleetMistakes(config.fleet))
  mistakes.push(...standaloneMistakes(config))
  if (mistakes.length > 0) throw new ConfigError(mistakes)
  return config
}

function standaloneMistakes({ standalone }: Config): string[] {
  const { importDump, importSnapshot } = standalone
  const needed = [
    ['ignore_missing_dump', standalone.ignoreMissingDump, 'import_dump', importDump],
    ['ignore_dump_if_db_exists', standalone.ignoreDumpIfDbExists, 'import_dump', importDump],
    ['ignore_missing_snapshot', standalone.ignoreMissingSnapshot, 'import_snapshot', importSnapshot],
    ['ignore_snapshot_if_db_exists', standalone.ignoreSnapshotIfDbExists, 'import_snapshot', importSnapshot],
  ] as const
  return [
    ...needed.flatMap(([name, isSet, other, value]) =>
      isSet && value === null ? [`standalone.${name}: needs \`standalone.${other}\``] : [],
    ),
    ...(importDump !== null && importSnapshot !== null
      ? ['standalone.import_dump: excludes `standalone.import_snapshot`']
      : []),
  ]
}

function readTree(file: string | undefined, mistakes: string[]): Readonly<Record<string, unknown>> {
  const path = file ?? 'flapjack.yaml'
  let source: string
  try {
    source = readFileSync(path, 'utf8')
  } catch (error) {
    const isAbsent = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    if (file !== undefined || !isAbsent) mistakes.push(`${path}: ${error instanceof Error ? error.message : error}`)
    return {}
  }
  const document = parseDocument(source, { prettyErrors: true })
  if (document.errors.length > 0) {
    mistakes.push(...document.errors.map((error) => `${path}: ${error.message}`))
    return {}
  }
  const tree: unknown = document.toJS() ?? {}
  if (isObject(tree)) return tree
  mistakes.push(`${path}: expected sections such as \`http:\`, found ${JSON.stringify(tree)}`)
  return {}
}

function reportUnknown(tree: Readonly<Record<string, unknown>>, mistakes: string[]): void {
  const sections = new Set(configFields.map(({ section }) => section as string))
  for (const [section, fields] of Object.entries(tree)) {
    if (!sections.has(section)) {
      mistakes.push(`${section}: no such section${nearest(section, [...sections])}`)
    } else {
      reportUnknownFields(section, fields, mistakes)
    }
  }
}

/** @param path  of a section or a group. */
function reportUnknownFields(path: string, fields: unknown, mistakes: string[]): void {
  if (!isObject(fields)) {
    mistakes.push(`${path}: expected fields, found ${JSON.stringify(fields)}`)
    return
  }
  const below = configFields.filter((entry) => entry.path.startsWith(`${path}.`))
  const names = [...new Set(below.map((entry) => entry.path.slice(path.length + 1).split('.')[0]!))]
  for (const [name, value] of Object.entries(fields)) {
    const at = `${path}.${name}`
    if (!names.includes(name)) mistakes.push(`${at}: no such field${nearest(name, names)}`)
    else if (!below.some((entry) => entry.path === at)) reportUnknownFields(at, value, mistakes)
  }
}

/** The object at a key; an empty one where there is none. */
function objectAt(tree: Readonly<Record<string, unknown>>, key: string): Readonly<Record<string, unknown>> {
  const value = tree[key]
  return typeof value === 'object' && value !== null ? { ...value } : {}
}

/** A misspelt `FLAPJACK_…` would otherwise be ignored in silence. */
function reportUnknownEnvironment(env: Environment, mistakes: string[]): void {
  const known = configFields.flatMap((entry) => entry.field.env)
  for (const variable of Object.keys(env)) {
    if (!variable.startsWith('FLAPJACK_') || known.includes(variable) || variable === 'FLAPJACK_CONFIG') continue
    mistakes.push(`${variable}: no such variable${nearest(variable, known)}`)
  }
}

function nearest(word: string, candidates: readonly string[]): string {
  const ranked = candidates.map((candidate) => ({ candidate, distance: editDistance(word, candidate) }))
  const best = ranked.sort((a, b) => a.distance - b.distance)[0]
  return best && best.distance <= Math.max(2, word.length / 3) ? `; did you mean \`${best.candidate}\`?` : ''
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let line = 1; line <= a.length; line += 1) {
    const next = [line]
    for (let column = 1; column <= b.length; column += 1) {
      const change = row[column - 1]! + (a[line - 1] === b[column - 1] ? 0 : 1)
      next.push(Math.min(change, row[column]! + 1, next[column - 1]! + 1))
    }
    row = next
  }
  return row[b.length]!
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

function camelCase(flag: string): string {
  return flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())
}
