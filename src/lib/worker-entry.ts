/**
 * Starts worker threads from a checkout (TypeScript through tsx) and from a bundle (plain JavaScript beside the main file)
 * alike. In a bundle every worker is an entry point of its own, named like its source file.
 */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker, type WorkerOptions } from 'node:worker_threads'

/**
 * @param base  `import.meta.url` of the module that owns the worker, which stands beside the worker's file.
 * @param name  file name without its ending, for example `search-worker`.
 */
export function startWorker(base: string, name: string, options: WorkerOptions = {}): Worker {
  if (base.endsWith('.ts')) {
    // Node 20 does not ask a worker's loaders about the worker's own file, so a line of JavaScript imports it.
    const [loader, entry] = [import.meta.resolve('tsx/esm/api'), new URL(`./${name}.ts`, base).href]
    const code = `import(${JSON.stringify(loader)}).then(({ register }) => { register(); return import(${JSON.stringify(entry)}) })`
    return new Worker(code, { ...options, eval: true, execArgv: [] })
  }
  const bundled = new URL(`./${name}.js`, base)
  return new Worker(existsSync(fileURLToPath(bundled)) ? bundled : new URL(`./${name}.mjs`, base), options)
}
