// Bundles src/ into dist/: the program and its worker threads. Files are replaced one by one, `main.js` last, so that
// several processes may build at once and one that is running is not disturbed.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const source = join(root, 'src')
const target = join(root, 'dist')
const entries = {
  main: 'src/main.ts',
  'embedding-worker': 'src/embedded/embedders/embedding-worker.ts',
  'indexing-worker': 'src/embedded/indexing-worker.ts',
  'search-worker': 'src/embedded/search-worker.ts',
}
/** Chunks of earlier builds stay this long for programs that still run on them. */
const oldChunkAgeMs = 3_600_000

/** Builds when the bundle is absent or older than a source file. */
export async function buildWhenStale() {
  const main = join(target, 'main.js')
  if (!existsSync(main) || newestIn(source) > statSync(main).mtimeMs) await build()
}

async function build() {
  const { build: bundle, stop } = await import('esbuild')
  const startedAt = new Date()
  const present = Object.entries(entries).filter(([, path]) => existsSync(join(root, path)))
  const { outputFiles } = await bundle({
    absWorkingDir: root,
    entryPoints: Object.fromEntries(present),
    outdir: target,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    sourcemap: 'linked',
    write: false,
    logLevel: 'error',
  })
  // Its service is a process of its own, which would live as long as the program that we start next.
  await stop()
  mkdirSync(target, { recursive: true })
  const isMain = (path) => basename(path) === 'main.js'
  for (const { path, contents } of outputFiles.sort((a, b) => Number(isMain(a.path)) - Number(isMain(b.path)))) {
    const draft = `${path}.${process.pid}`
    writeFileSync(draft, contents)
    // A file that is saved while we build makes the bundle stale again.
    utimesSync(draft, startedAt, startedAt)
    renameSync(draft, path)
  }
  const kept = new Set(outputFiles.map(({ path }) => basename(path)))
  for (const name of readdirSync(target)) {
    const path = join(target, name)
    const isOld =
      !kept.has(name) && Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now()) > oldChunkAgeMs
    if (isOld) unlinkSync(path)
  }
}

function newestIn(folder) {
  return readdirSync(folder, { withFileTypes: true }).reduce((newest, entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return Math.max(newest, newestIn(path))
    return entry.name.endsWith('.test.ts') ? newest : Math.max(newest, statSync(path).mtimeMs)
  }, 0)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await build()
