/** Listing, cancelling and deleting tasks (M-C6, M-C7), from a query string. */
import { dayMs, parseDay, parseTime } from './dates.ts'
import {
  booleanParameter,
  decodeParameters,
  integerParameter,
  invalidParameter,
  type ParameterAt,
  type ParameterDecoder,
  type Parameters,
  parameter,
  parameterOrNull,
  starOrListParameter,
} from './decode-query.ts'
import { ApiError, type ErrorCode } from './errors.ts'
import { indexUidParameter } from './index-uid.ts'
import {
  type TaskFilter,
  type TaskKind,
  type TaskPageQuery,
  type TaskStatus,
  taskKinds,
  taskStatuses,
} from './tasks.ts'

const words = (list: readonly string[]) => list.map((word) => `\`${word}\``).join(', ')

const status: ParameterDecoder<TaskStatus> = (text, at) => {
  const found = taskStatuses.find((candidate) => candidate.toLowerCase() === text.toLowerCase())
  if (found === undefined)
    throw invalidParameter(`\`${text}\` is not a valid task status. Available statuses are ${words(taskStatuses)}.`, at)
  return found
}

const kind: ParameterDecoder<TaskKind> = (text, at) => {
  const found = taskKinds.find((candidate) => candidate.toLowerCase() === text.toLowerCase())
  if (found === undefined)
    throw invalidParameter(`\`${text}\` is not a valid task type. Available types are ${words(taskKinds)}.`, at)
  return found
}

/** A bare day after `after` means the next midnight. */
function bound(text: string, at: ParameterAt, after: boolean): number | null {
  if (text === '*') return null
  const day = parseDay(text)
  const moment = day === undefined ? parseTime(text) : after ? day + dayMs : day
  if (moment === undefined)
    throw invalidParameter(
      `\`${text}\` is an invalid date-time. It should follow the YYYY-MM-DD or RFC 3339 date-time format.`,
      at,
    )
  return moment
}

const after: ParameterDecoder<number | null> = (text, at) => bound(text, at, true)
const before: ParameterDecoder<number | null> = (text, at) => bound(text, at, false)

interface Selection {
  readonly uids: readonly number[] | null
  readonly batchUids: readonly number[] | null
  readonly canceledBy: readonly number[] | null
  readonly types: readonly TaskKind[] | null
  readonly statuses: readonly TaskStatus[] | null
  readonly indexUids: readonly string[] | null
  readonly afterEnqueuedAt: number | null
  readonly beforeEnqueuedAt: number | null
  readonly afterStartedAt: number | null
  readonly beforeStartedAt: number | null
  readonly afterFinishedAt: number | null
  readonly beforeFinishedAt: number | null
}

const list = <T>(decode: ParameterDecoder<T>, code: ErrorCode) => parameterOrNull(orStar(decode), code)

/** A `*` = no restriction. */
const orStar =
  <T>(decode: ParameterDecoder<T>): ParameterDecoder<readonly T[] | null> =>
  (text, at) =>
    starOrListParameter(decode)(text, at)

const uidMax = 0xffffffff

const uid: ParameterDecoder<number> = (text, at) => {
  const value = integerParameter(text, at)
  if (value > uidMax) throw invalidParameter(`could not parse \`${text}\` as a positive integer`, at)
  return value
}

const uids = list(uid, 'invalid_task_uids')
const batchUids = list(uid, 'invalid_batch_uids')
const rest = {
  canceledBy: list(uid, 'invalid_task_canceled_by'),
  types: list(kind, 'invalid_task_types'),
  statuses: list(status, 'invalid_task_statuses'),
  indexUids: list(indexUidParameter, 'invalid_index_uid'),
  afterEnqueuedAt: parameterOrNull(after, 'invalid_task_after_enqueued_at'),
  beforeEnqueuedAt: parameterOrNull(before, 'invalid_task_before_enqueued_at'),
  afterStartedAt: parameterOrNull(after, 'invalid_task_after_started_at'),
  beforeStartedAt: parameterOrNull(before, 'invalid_task_before_started_at'),
  afterFinishedAt: parameterOrNull(after, 'invalid_task_after_finished_at'),
  beforeFinishedAt: parameterOrNull(before, 'invalid_task_before_finished_at'),
} satisfies Partial<Parameters<Selection>>

const selectionParameters: Parameters<Selection> = { uids, batchUids, ...rest }

interface Page extends Selection {
  readonly limit: number
  readonly from: number | null
  readonly reverse: boolean
}

const pageParameters: Parameters<Page> = {
  limit: parameter(uid, 20, 'invalid_task_limit'),
  from: parameterOrNull(uid, 'invalid_task_from'),
  reverse: parameter(booleanParameter, false, 'invalid_task_reverse'),
  batchUids,
  uids,
  ...rest,
}

/** `GET /tasks` and `GET /batches`; `search` is the query string. */
export function decodeTaskPage(search: string): TaskPageQuery {
  const { limit, from, reverse, ...selection } = decodeParameters(search, pageParameters)
  return { filter: filterOf(selection), limit, ...(from === null ? {} : { from }), reverse }
}

/**
 * `POST /tasks/cancel` and `DELETE /tasks`.
 * @throws ApiError `missing_task_filters` (message 66) when the query string names no filter; `*` counts as one.
 */
export function decodeTaskSelection(search: string, verb: 'cancel' | 'delete'): TaskFilter {
  const selection = decodeParameters(search, selectionParameters)
  const text = search.startsWith('?') ? search.slice(1) : search
  if (text === '')
    throw new ApiError(
      'missing_task_filters',
      `Query parameters to filter the tasks to ${verb} are missing. Available query parameters are: \`uids\`, \`indexUids\`, \`statuses\`, \`types\`, \`canceledBy\`, \`beforeEnqueuedAt\`, \`afterEnqueuedAt\`, \`beforeStartedAt\`, \`afterStartedAt\`, \`beforeFinishedAt\`, \`afterFinishedAt\`.`,
    )
  return filterOf(selection)
}

/** A task number in a path (message 63). */
export function decodeTaskUid(text: string): number {
  return pathUid(text, 'Task', 'invalid_task_uids')
}

export function decodeBatchUid(text: string): number {
  return pathUid(text, 'Batch', 'invalid_batch_uids')
}

function pathUid(text: string, what: string, code: ErrorCode): number {
  const value = /^[0-9]+$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value) || value > uidMax)
    throw new ApiError(code, `${what} uid \`${text}\` is invalid. It should only contain numeric characters.`)
  return value
}

function filterOf(selection: Selection): TaskFilter {
  return Object.fromEntries(Object.entries(selection).filter(([, value]) => value !== null))
}
