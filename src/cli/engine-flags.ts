/**
 * Options of Meilisearch that `flapjack engine` knows without acting on them: some have nothing to act on here, others ask
 * for something that it cannot do, and starting without it would be wrong.
 */
import { readFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { parse, TomlError } from 'smol-toml'
import { ConfigError, type Environment } from '../config/config.ts'

/** Flag → whether it takes a value. They tune parts that work otherwise here. */
const idle: Readonly<Record<string, boolean>> = {
  'no-analytics': false,
  'max-indexing-threads': true,
  'experimental-drop-search-after': true,
  'experimental-dumpless-upgrade': false,
  'experimental-embedding-cache-entries': true,
  'experimental-legacy-search-default': false,
  'experimental-logs-mode': true,
  'experimental-nb-searches-per-core': true,
  'experimental-no-edition-2024-for-dumps': false,
  'experimental-no-edition-2024-for-settings': false,
  'experimental-no-snapshot-compaction': false,
  'experimental-reduce-indexing-memory-usage': false,
}

const tls = 'the engine speaks plain HTTP: put a proxy that speaks TLS before it'
const s3 = 'snapshots go to a folder: copy them from --snapshot-dir'

/** Flag → what to do instead. */
const refused: Readonly<Record<string, string>> = {
  'ssl-auth-path': tls,
  'ssl-cert-path': tls,
  'ssl-key-path': tls,
  'ssl-ocsp-path': tls,
  'ssl-require-auth': tls,
  'ssl-resumption': tls,
  'ssl-tickets': tls,
  's3-access-key': s3,
  's3-bucket-name': s3,
  's3-bucket-region': s3,
  's3-bucket-url': s3,
  's3-secret-key': s3,
  's3-snapshot-prefix': s3,
  'experimental-s3-compression-level': s3,
  'experimental-s3-max-in-flight-parts': s3,
  'experimental-s3-multipart-part-size': s3,
  'experimental-s3-role-arn': s3,
  'experimental-s3-signature-duration-seconds': s3,
  'experimental-s3-web-identity-token-file': s3,
  'experimental-replication-parameters':
    'task numbers are always given by the engine, and old tasks are always cleaned',
  'experimental-personalization-api-key': 'searches are not personalised',
}

/** Makes the command accept every option of Meilisearch that the configuration does not name. */
export function addForeignFlags(command: Command): void {
  for (const [flag, hasValue] of Object.entries(idle))
    command.addOption(new Option(`--${flag}${hasValue ? ' <value>' : ''}`).hideHelp())
  for (const flag of Object.keys(refused)) command.addOption(new Option(`--${flag} [value]`).hideHelp())
  command.option('--config-file-path <file>', 'TOML file of Meilisearch options; flags and variables win over it')
}

/**
 * The environment with what the file of `--config-file-path` says where no variable does.
 *
 * @throws ConfigError for options that cannot be honoured, and for a file that cannot be read.
 */
export function engineEnvironment(flags: Readonly<Record<string, unknown>>, env: Environment): Environment {
  const file = flags.configFilePath ?? env.MEILI_CONFIG_FILE_PATH
  const merged: Environment = typeof file === 'string' && file !== '' ? { ...fileVariables(file), ...env } : env
  const mistakes = Object.entries(refused).flatMap(([flag, advice]) => {
    if (flags[camelCase(flag)] !== undefined) return [`--${flag}: cannot be honoured; ${advice}`]
    const variable = variableOf(flag)
    const value = merged[variable]
    return value === undefined || value === '' || value === 'false'
      ? []
      : [`${variable}: cannot be honoured; ${advice}`]
  })
  if (mistakes.length > 0) throw new ConfigError(mistakes)
  return merged
}

/** As Meilisearch does: each key of the file is the variable of its name. */
function fileVariables(file: string): Record<string, string> {
  let table: Record<string, unknown>
  try {
    table = parse(readFileSync(file, 'utf8'))
  } catch (error) {
    const what = error instanceof TomlError || error instanceof Error ? error.message : String(error)
    throw new ConfigError([`${file}: ${what}`])
  }
  const mistakes: string[] = []
  const variables: Record<string, string> = {}
  for (const [key, value] of Object.entries(table)) {
    const isPlain = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    if (isPlain || typeof value === 'bigint') variables[variableOf(key)] = String(value)
    else mistakes.push(`${file}: ${key}: expected text, a number, true or false`)
  }
  if (mistakes.length > 0) throw new ConfigError(mistakes)
  return variables
}

const variableOf = (flag: string): string => `MEILI_${flag.replaceAll('-', '_').toUpperCase()}`

const camelCase = (flag: string): string => flag.replace(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
