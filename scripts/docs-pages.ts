/** The pages of `docs/` that are made from tables in the code. `npm run docs` writes them, the tidy test compares them. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { errorTable } from '../src/api/error-table.ts'
import { exitCodes } from '../src/cli/exit-codes.ts'
import { configFields } from '../src/config/config.ts'

/** File below `docs/` → its text. */
export function generatedPages(): ReadonlyMap<string, string> {
  return new Map([
    ['config.md', configPage()],
    ['errors.md', errorsPage()],
    ['exit-codes.md', exitCodesPage()],
    ['metrics.md', metricsPage()],
  ])
}

const note = '<!-- Made by `npm run docs`; edit the table in the code instead. -->'

function configPage(): string {
  const sections = [...new Set(configFields.map(({ section }) => section))]
  const parts = sections.flatMap((section) => [
    `## \`${section}\``,
    '',
    ...configFields
      .filter((entry) => entry.section === section)
      .flatMap(({ path, field }) => [
        `### \`${path}\``,
        '',
        field.about,
        '',
        `- Accepts: ${field.decoder.accepts}`,
        `- Default: ${field.initialText.includes('`') || field.initialText.includes(' ') ? field.initialText : `\`${field.initialText}\``}`,
        ...(field.env.length > 0 ? [`- Environment: ${field.env.map((name) => `\`${name}\``).join(', then ')}`] : []),
        ...(field.flag ? [`- Option: \`--${field.flag}\``] : []),
        '',
      ]),
  ])
  return [
    '# Configuration',
    '',
    note,
    '',
    'Everything has a default. Options of the command line win over the environment, the environment over the file,',
    'the file over defaults. The file is `flapjack.yaml` in the working folder, or the one named by `--config` or',
    '`FLAPJACK_CONFIG`. All mistakes are reported together before anything starts (exit code 2).',
    '',
    '```yaml',
    'http:',
    '  address: 0.0.0.0:7700',
    'engine:',
    '  nodes: 2',
    'log:',
    '  level: info',
    '```',
    '',
    ...parts,
  ]
    .join('\n')
    .replace(/\n+$/, '\n')
}

function errorsPage(): string {
  const rows = Object.entries(errorTable)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([code, { status, type }]) => `| <a id="${code}"></a>\`${code}\` | ${status} | \`${type}\` |`)
  return [
    '# Errors',
    '',
    note,
    '',
    'Every refusal is a JSON object of four strings, as in Meilisearch: `message`, `code`, `type` and `link`. Programs should',
    'look at `code`; messages may be worded better one day. Answers with status 429 or 503 carry `Retry-After`.',
    '',
    '| code | status | type |',
    '| --- | --- | --- |',
    ...rows,
    '',
  ].join('\n')
}

function exitCodesPage(): string {
  return [
    '# Exit codes',
    '',
    note,
    '',
    '| code | meaning |',
    '| --- | --- |',
    ...Object.values(exitCodes).map(({ code, meaning }) => `| ${code} | ${meaning} |`),
    '',
  ].join('\n')
}

/** Metrics are declared beside the code that moves them; each declaration is a literal (those of an engine alone are Meilisearch's). */
function metricsPage(): string {
  const declaration = /new (Counter|Gauge|Histogram|Summary|TalliedSeconds)(?:<[^>]*>)?\((?:registry, )?\{([^}]*)/g
  const rows = sourcesBelow(join(import.meta.dirname, '..', 'src')).flatMap((path) =>
    [...readFileSync(path, 'utf8').matchAll(declaration)].flatMap(([, type = '', body = '']) => {
      const read = (field: string) => new RegExp(`${field}: (['"\`])(.*?)\\1`).exec(body)?.[2] ?? ''
      if (read('name') === '') return []
      const labels = /labelNames: \[([^\]]*)\]/.exec(body)?.[1] ?? ''
      const names = [...labels.matchAll(/['"](\w+)['"]/g)].map(([, name]) => `\`${name}\``).join(', ')
      const kind = type === 'TalliedSeconds' ? 'histogram' : type.toLowerCase()
      return `| \`${read('name')}\` | ${kind} | ${names} | ${read('help')} |`
    }),
  )
  return [
    '# Metrics',
    '',
    note.replace('table', 'declaration'),
    '',
    "In Prometheus' text format. Names of our own begin with `flapjack_`, names of the cluster layer with `miroir_`; those of",
    "the process itself (`process_…`, `nodejs_…`) are prom-client's.",
    '',
    '| metric | type | labels | meaning |',
    '| --- | --- | --- | --- |',
    ...rows.sort(),
    '',
  ].join('\n')
}

function sourcesBelow(folder: string): readonly string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return sourcesBelow(path)
    return path.endsWith('.ts') && !path.endsWith('.test.ts') ? [path] : []
  })
}
