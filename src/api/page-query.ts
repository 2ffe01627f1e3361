/** `offset` and `limit` of plain lists, and the parameters of the stats routes. */
import { booleanParameter, decodeParameters, integerParameter, oneOfParameter, parameter } from './decode-query.ts'

export interface ListPage {
  readonly offset: number
  readonly limit: number
}

export function decodeIndexPage(search: string): ListPage {
  return decodeParameters<ListPage>(search, {
    offset: parameter(integerParameter, 0, 'invalid_index_offset'),
    limit: parameter(integerParameter, 20, 'invalid_index_limit'),
  })
}

export function decodeKeyPage(search: string): ListPage {
  return decodeParameters<ListPage>(search, {
    offset: parameter(integerParameter, 0, 'invalid_api_key_offset'),
    limit: parameter(integerParameter, 20, 'invalid_api_key_limit'),
  })
}

/** The answer of every such list; `items` whole and in order. */
export function renderPage<T>(items: readonly T[], { offset, limit }: ListPage) {
  return { results: items.slice(offset, offset + limit), offset, limit, total: items.length }
}

export interface StatsQuery {
  readonly showInternalDatabaseSizes: boolean
  readonly sizeFormat: 'raw' | 'human'
}

export function decodeStatsQuery(search: string): StatsQuery {
  return decodeParameters<StatsQuery>(search, {
    showInternalDatabaseSizes: parameter(booleanParameter, false, 'invalid_stats_show_internal_database_sizes'),
    sizeFormat: parameter(oneOfParameter('human', 'raw'), 'raw', 'invalid_stats_size_format'),
  })
}
