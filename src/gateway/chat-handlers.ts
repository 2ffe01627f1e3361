/** Chat workspaces of a project (M-F24), kept in the catalogue. */
import { applyChatSettings, type ChatWorkspace, chatNotFound, renderChatSettings } from '../api/chat-workspace.ts'
import { ApiError } from '../api/errors.ts'
import { checkIndexUid } from '../api/index-uid.ts'
import { decodeIndexPage, renderPage } from '../api/page-query.ts'
import { empty, json } from './answer.ts'
import type { Call, Handler } from './exchange.ts'
import { readJson } from './request-body.ts'

/** Workspaces of one project: a catalogue is not for masses of them. */
const workspacesMax = 1_000

const workspacesOf = ({ parts, principal }: Call) => parts.catalogue.chats(principal.project.id)
const uidOf = ({ exchange }: Call): string => decodeURIComponent(exchange.params[0] ?? '')

/** `GET /chats`. */
export const listChats: Handler = async (call) => {
  const page = decodeIndexPage(call.search)
  const uids = Object.keys(await workspacesOf(call)).sort()
  return json(
    200,
    renderPage(
      uids.map((uid) => ({ uid })),
      page,
    ),
  )
}

/** `GET /chats/{workspace}`. */
export const readChat: Handler = async (call) => {
  const uid = checkIndexUid(uidOf(call))
  if (!Object.hasOwn(await workspacesOf(call), uid)) throw chatNotFound(uid, '')
  return json(200, { uid })
}

/** `DELETE /chats/{workspace}`. */
export const deleteChat: Handler = async (call) => {
  const uid = uidOf(call)
  await call.parts.catalogue.changeChats(call.principal.project.id, (before) => {
    if (!Object.hasOwn(before, uid)) throw chatNotFound(uid, '')
    return Object.fromEntries(Object.entries(before).filter(([name]) => name !== uid))
  })
  return empty(204)
}

/** `GET /chats/{workspace}/settings`. */
export const readChatSettings: Handler = async (call) => {
  return json(200, renderChatSettings(await readWorkspace(call)))
}

/** The workspace that the path names. @throws ApiError `chat_not_found` */
export async function readWorkspace(call: Call): Promise<ChatWorkspace> {
  const uid = uidOf(call)
  const workspace = new Map(Object.entries(await workspacesOf(call))).get(uid)
  if (workspace === undefined) throw chatNotFound(uid, '`')
  return workspace
}

/** `PATCH /chats/{workspace}/settings`. */
export const updateChatSettings: Handler = async (call) => {
  const sent = await readJson(call.exchange.request, call.headers, call.parts.limits.bodyBytesMax)
  const uid = checkIndexUid(uidOf(call))
  return json(200, await change(call, uid, (before) => applyChatSettings(before, sent)))
}

/** `DELETE /chats/{workspace}/settings`. */
export const resetChatSettings: Handler = async (call) => {
  const uid = uidOf(call)
  const reset = (before: ChatWorkspace | null) => {
    if (before === null) throw chatNotFound(uid, '`')
    return applyChatSettings(null, {})
  }
  return json(200, await change(call, uid, reset))
}

async function change(call: Call, uid: string, apply: (before: ChatWorkspace | null) => ChatWorkspace) {
  const after = await call.parts.catalogue.changeChats(call.principal.project.id, (before) => {
    const known = new Map(Object.entries(before))
    const next = known.set(uid, apply(known.get(uid) ?? null))
    if (next.size > workspacesMax)
      throw new ApiError('bad_request', `A project holds at most ${workspacesMax} chat workspaces.`)
    return Object.fromEntries(next)
  })
  return renderChatSettings(after[uid]!)
}
