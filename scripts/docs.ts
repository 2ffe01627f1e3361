/** Writes the generated pages of `docs/`. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { generatedPages } from './docs-pages.ts'

const folder = join(import.meta.dirname, '..', 'docs')
mkdirSync(folder, { recursive: true })
for (const [name, text] of generatedPages()) writeFileSync(join(folder, name), text)
