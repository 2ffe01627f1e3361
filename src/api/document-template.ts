/** Document templates: the text with which a document is shown to a model, from `doc` and its `fields`. */
import type { JsonObject } from '../lib/json.ts'
import { liquidObject, liquidValue, parseLiquid, type TemplateFault } from './liquid-template.ts'

/** The text with which documents are shown to an embedding model by default. */
export const defaultDocumentTemplate =
  '{% for field in fields %}{% if field.is_searchable and field.value != nil %}{{ field.name }}: {{ field.value }}\n{% endif %}{% endfor %}'

export interface DocumentTemplate {
  /** @throws TemplateFault for a field that the document has not. */
  render(document: JsonObject, isSearchable: (field: string) => boolean, msMax?: number): string
}

/** Members that are not told to models. */
const hidden: ReadonlySet<string> = new Set(['_vectors', '_geo'])

/** The names that a template may use for a document. */
export function documentScope(document: JsonObject): Readonly<Record<string, unknown>> {
  const shown = Object.entries(document).filter(([name]) => !hidden.has(name))
  return { doc: liquidValue(Object.fromEntries(shown)) }
}

/** @throws TemplateFault */
export function parseDocumentTemplate(text: string): DocumentTemplate {
  const template = parseLiquid(text)
  return {
    render(document, isSearchable, msMax) {
      const { doc } = documentScope(document)
      const fields = Object.entries(doc as Readonly<Record<string, unknown>>).map(([name, value]) =>
        liquidObject({ name, value, is_searchable: isSearchable(name) }),
      )
      return template.render({ doc, fields }, msMax)
    },
  }
}

/** As tasks and answers tell it. */
export const parsingMistake = (fault: TemplateFault): string => `user error: cannot parse template: ${fault.message}`
