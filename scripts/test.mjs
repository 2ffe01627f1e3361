// Runs every `*.test.ts` below src/ and test/, each file in a process of its own, two at a time.
//   node scripts/test.mjs [--quick] [--concurrency N] [path ...]
// `--quick` leaves out the suites that start servers or run for minutes. Paths pick files by prefix. The last line is `N passed, N failed`.
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { run } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = fileURLToPath(new URL('..', import.meta.url))
/** Suites that start servers and databases, or run for minutes. */
const slowFolders = ['test/acceptance', 'test/contract', 'test/crash', 'test/embedded', 'test/sim']
const fileTimeoutMs = 900_000

const { values, positionals } = parseArgs({
  options: { quick: { type: 'boolean' }, concurrency: { type: 'string', default: '2' }, inner: { type: 'boolean' } },
  allowPositionals: true,
})
if (values.inner) await runAll()
else restartWithTypeScript()

/** Test processes inherit the loader from this process's own options. */
function restartWithTypeScript() {
  const options = ['--import', 'tsx', fileURLToPath(import.meta.url), '--inner', ...process.argv.slice(2)]
  const child = spawn(process.execPath, options, { cwd: root, stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))
  child.on('exit', (code) => {
    process.exitCode = code ?? 1
  })
}

async function runAll() {
  const files = findTests()
  const counts = { passed: 0, failed: 0 }
  const done = new Set()
  const bad = new Set()
  const failures = []
  const output = new Map()
  const stream = run({ files, concurrency: Number(values.concurrency), timeout: fileTimeoutMs })
  const keepOutput = ({ file, message }) => output.set(file, ((output.get(file) ?? '') + message).slice(-20_000))
  stream.on('test:stdout', keepOutput)
  stream.on('test:stderr', keepOutput)
  stream.on('test:pass', (event) => {
    if (!isWholeFile(event) && event.details.type !== 'suite') counts.passed += 1
  })
  stream.on('test:fail', (event) => {
    const isFile = isWholeFile(event)
    bad.add(event.file)
    const cause = event.details.error?.cause ?? event.details.error
    const onlyChildren = event.details.error?.failureType === 'subtestsFailed'
    if (onlyChildren) return
    counts.failed += 1
    failures.push(`${isFile ? event.name : `${relative(root, event.file ?? '')} > ${event.name}`}`)
    process.stdout.write(`\n✖ ${failures.at(-1)}\n${indent(cause?.stack ?? String(cause))}\n`)
    if (output.has(event.file)) process.stdout.write(`${indent(output.get(event.file))}\n`)
  })
  stream.on('test:complete', (event) => {
    if (isWholeFile(event)) finishFile(event.name, event.details?.passed !== false)
  })
  await new Promise((resolve, reject) => {
    stream.on('end', resolve)
    stream.on('error', reject)
    stream.resume()
  })
  if (failures.length > 0) process.stdout.write(`\nFailed:\n${failures.map((name) => `  ${name}`).join('\n')}\n`)
  if (counts.passed + counts.failed === 0) process.stdout.write('No test was run.\n')
  process.stdout.write(`${counts.passed} passed, ${counts.failed} failed\n`)
  process.exitCode = counts.failed > 0 || counts.passed === 0 ? 1 : 0

  function finishFile(path, isGood) {
    if (done.has(path)) return
    done.add(path)
    process.stdout.write(
      `${!isGood || bad.has(path) ? '✖' : '✔'} [${done.size}/${files.length}] ${relative(root, path)}\n`,
    )
  }
}

/** The runner also reports each file as a test that is named by its path. */
function isWholeFile({ name, nesting }) {
  return nesting === 0 && name.endsWith('.test.ts') && name.startsWith(root)
}

/** Long suites first, so that no core is idle at the end. */
function findTests() {
  const all = ['test', 'src'].flatMap((folder) => testsBelow(join(root, folder)))
  const isSlow = (path) => slowFolders.some((folder) => relative(root, path).startsWith(`${folder}/`))
  const isPicked = (path) =>
    positionals.length === 0 || positionals.some((prefix) => relative(root, path).startsWith(prefix))
  return all.filter((path) => isPicked(path) && !(values.quick && isSlow(path)))
}

function testsBelow(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return testsBelow(path)
    return entry.name.endsWith('.test.ts') ? [path] : []
  })
}

function indent(text) {
  return text.replace(/^/gm, '    ')
}
