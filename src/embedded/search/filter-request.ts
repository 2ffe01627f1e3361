/** The filter of a request: parsed, and checked against the experimental flags that some conditions need (M-F14). */

import type { ErrorCode } from '../../api/errors.ts'
import { type Feature, featureNotEnabled } from '../../api/features.ts'
import { type Filter, parseFilter, renderFilter, type Span, spanTail } from '../../api/filter.ts'
import type { Json } from '../../lib/json.ts'

export type FeaturesOn = Readonly<Record<string, boolean>>

/** @throws ApiError with `code` for syntax, `feature_not_enabled` for conditions whose flag is off. */
export function readFilter(filter: Json, code: ErrorCode, features: FeaturesOn): Filter | null {
  const parsed = parseFilter(filter, code)
  if (parsed !== null) checkFeatures(parsed, features)
  return parsed
}

/** The same, written out and parsed again: messages of search show the quoted form (M-F21). */
export function readSearchFilter(filter: Json, code: ErrorCode, features: FeaturesOn): Filter | null {
  const parsed = readFilter(filter, code, features)
  return parsed === null ? null : parseFilter(renderFilter(parsed), code)
}

function checkFeatures(filter: Filter, features: FeaturesOn): void {
  const need = (feature: Feature, action: string, at: Span) => {
    if (features[feature] !== true) throw featureNotEnabled(feature, action, spanTail(at))
  }
  switch (filter.kind) {
    case 'and':
    case 'or':
      for (const part of filter.filters) checkFeatures(part, features)
      return
    case 'not':
      checkFeatures(filter.filter, features)
      return
    case 'text': {
      if (filter.test !== 'CONTAINS') return
      const start = filter.at.source.indexOf('CONTAINS', filter.at.start)
      need('containsFilter', 'Using `CONTAINS` in a filter', { ...filter.at, start, end: start + 'CONTAINS'.length })
      return
    }
    case 'vectors':
      need('multimodal', 'using a vector filter', { ...filter.at, end: filter.at.start + '_vectors'.length })
      return
    case 'foreign':
      need('foreignKeys', 'using a foreign filter', filter.field)
      return
    case 'compare':
    case 'in':
      if (filter.field.text === '_shard') need('network', 'using a shard filter', filter.field)
      return
    default:
      return
  }
}
