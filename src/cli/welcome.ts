/** What `flapjack up` prints when it serves. */
import type { ApiKey, Project } from '../store/catalogue.ts'
import { demoIndex } from './demo-data.ts'
import { showKeys } from './key-view.ts'
import type { Terminal } from './terminal.ts'

export function welcome(
  terminal: Terminal,
  facts: {
    readonly url: string
    readonly version: string
    readonly dataDir: string
    readonly project: Project
    readonly keys: readonly ApiKey[]
    /** Keys are printed once, by the start that made them. */
    readonly isNew: boolean
  },
): void {
  const { url, version, dataDir, project, isNew } = facts
  const keys = showKeys(project, facts.keys)
  const keyNamed = (name: string) => keys.find((key) => key.name === name)?.key ?? 'deleted'
  const lines = [
    `Flapjack ${version} serves on ${url}`,
    `All data is in ${dataDir}. Ctrl-C stops.`,
    ...(isNew
      ? [
          '',
          `  Project     ${project.name} (${project.ref})`,
          `  Master key  ${project.masterKey}`,
          `  Admin key   ${keyNamed('Default Admin API Key')}`,
          `  Search key  ${keyNamed('Default Search API Key')}`,
          '',
        ]
      : [`The keys are shown by \`flapjack project show ${project.name}\`.`]),
  ]
  const { ref, name, masterKey } = project
  const shown = { ref, name, ...(isNew ? { masterKey, keys: keys.map((key) => ({ ...key })) } : {}) }
  terminal.answer({ url, version, dataDir, project: shown }, lines.join('\n'))
}

/** A line to paste that finds something in the demo data. */
export function suggestSearch(terminal: Terminal, url: string, project: Project, keys: readonly ApiKey[]): void {
  const key = showKeys(project, keys).find(({ actions }) => actions.length === 1 && actions[0] === 'search')?.key
  terminal.remark(
    [
      '',
      'Try a search, with a typo:',
      '',
      `  curl '${url}/indexes/${demoIndex}/search?q=jurasic+park&limit=3' -H 'Authorization: Bearer ${key ?? project.masterKey}'`,
      '',
    ].join('\n'),
  )
}
