/** The driver `local`: engine processes of this machine, each with a folder. They end with the program that started them. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '../../lib/clock.ts'
import type { EngineKind, NodeId } from '../../store/catalogue.ts'
import type { LocalChild } from '../local-driver.ts'
import { isLocalId } from '../local-fleet.ts'
import { DriverFailed, type MachineSpec, type MachineView, type NodeDriver } from './node-driver.ts'
import { type ProcessUse, processUse } from './process-use.ts'

export interface LocalStart {
  readonly id: NodeId
  readonly group: number
  /** null = as the store has it, or a new one. */
  readonly key: string | null
  /** The store learns of it from whoever made it, not from its start. */
  readonly isNew: boolean
  readonly folder: string
}

export interface ProcessDriverDeps {
  /** Holds a folder for each node. */
  readonly folder: string
  readonly engine: EngineKind
  /** Resolves when it serves. */
  readonly launch: (start: LocalStart) => Promise<LocalChild>
  readonly clock: Pick<Clock, 'monotonic'>
}

export interface ProcessDriver extends NodeDriver {
  /** Starts a node of the folder and waits until it serves. @throws what its start throws. */
  boot(node: { readonly id: NodeId; readonly group: number }): Promise<void>
  /** Ends all processes; folders stay. */
  close(): Promise<void>
}

interface Entry {
  readonly start: LocalStart
  child: LocalChild | undefined
  /** What is being done; one thing after the other. */
  work: Promise<void>
  isStopped: boolean
  failure: string | null
  use: ProcessUse | undefined
}

const generationFile = 'generation'

export function createProcessDriver({ folder, engine, launch, clock }: ProcessDriverDeps): ProcessDriver {
  const entries = new Map<NodeId, Entry>()
  const folderOf = (id: NodeId) => join(folder, id)
  let isClosed = false

  function enter(start: Omit<LocalStart, 'folder'>): Entry {
    const known = entries.get(start.id)
    if (known !== undefined) return known
    const entry: Entry = {
      start: { ...start, folder: folderOf(start.id) },
      child: undefined,
      work: Promise.resolve(),
      isStopped: false,
      failure: null,
      use: undefined,
    }
    entries.set(start.id, entry)
    return entry
  }

  function inTurn(entry: Entry, act: () => Promise<void>): Promise<void> {
    const turn = entry.work.then(act)
    entry.work = turn.catch(() => undefined)
    return turn
  }

  const run = async (entry: Entry) => {
    if (entry.child !== undefined || isClosed) return
    entry.isStopped = false
    try {
      entry.child = await launch(entry.start)
      entry.failure = null
    } catch (error) {
      entry.failure = error instanceof Error ? error.message : String(error)
      throw error
    }
    if (isClosed) await halt(entry)
  }
  const halt = async (entry: Entry) => {
    const { child } = entry
    entry.child = undefined
    entry.isStopped = true
    await child?.stop()
  }
  /** Its start takes as long as it takes; what comes of it shows in `describe`. */
  const runLater = (entry: Entry) => void inTurn(entry, () => run(entry)).catch(() => undefined)

  function entryOf(node: NodeId): Entry {
    const entry = entries.get(node)
    if (entry === undefined) throw new DriverFailed(`no process of node \`${node}\` belongs to this program`)
    return entry
  }

  function view({ start: { id }, child, isStopped, failure }: Entry): MachineView {
    if (child !== undefined) {
      return {
        node: id,
        state: child.pid === undefined ? 'starting' : 'running',
        url: child.url || null,
        reason: failure,
      }
    }
    const state = failure !== null ? 'failed' : isStopped ? 'stopped' : 'starting'
    return { node: id, state, url: null, reason: failure }
  }

  return {
    kind: 'local',
    can: { create: true, restart: true, replace: true, destroy: true },
    async boot({ id, group }) {
      const entry = enter({ id, group, key: null, isNew: false })
      await inTurn(entry, () => run(entry))
    },
    async create({ node, group, key, engine: wanted }) {
      if (!isLocalId(node)) throw new DriverFailed(`\`${node}\` is no id of a local engine`)
      if (wanted !== engine) throw new DriverFailed(`this program starts ${engine} engines, not ${wanted}`)
      runLater(enter({ id: node, group, key, isNew: true }))
    },
    async start(node) {
      runLater(entryOf(node))
    },
    async stop(node) {
      const entry = entryOf(node)
      await inTurn(entry, () => halt(entry))
    },
    async restart(node) {
      const entry = entryOf(node)
      if (entry.child === undefined) return runLater(entry)
      await inTurn(entry, async () => entry.child?.restart())
    },
    async replace(spec) {
      const entry = enter({ id: spec.node, group: spec.group, key: spec.key, isNew: true })
      await inTurn(entry, async () => {
        if (generationOf(entry.start.folder) >= spec.generation) return
        await halt(entry)
        setAside(entry.start.folder, spec)
      })
      runLater(entry)
    },
    async destroy(node) {
      const entry = entries.get(node)
      if (entry !== undefined) await inTurn(entry, () => halt(entry))
      entries.delete(node)
      rmSync(folderOf(node), { recursive: true, force: true })
    },
    async describe(node) {
      const entry = entries.get(node)
      return entry === undefined ? { node, state: 'absent', url: null, reason: null } : view(entry)
    },
    async list() {
      const folders = existsSync(folder)
        ? readdirSync(folder).filter((name) => isLocalId(name) && !entries.has(name))
        : []
      const idle = folders.map((node): MachineView => ({ node, state: 'stopped', url: null, reason: null }))
      return [...[...entries.values()].map(view), ...idle]
    },
    async figures(node) {
      const entry = entries.get(node)
      const pid = entry?.child?.pid
      const before = entry?.use
      const use = pid === undefined ? undefined : processUse(pid, clock.monotonic())
      if (entry !== undefined) entry.use = use
      const spent = use !== undefined && before?.pid === use.pid ? use.cpuMs - before.cpuMs : null
      const past = use !== undefined && before !== undefined ? use.at - before.at : 0
      const disk = statfsSync(existsSync(folder) ? folder : '.')
      return {
        cpuPercent: spent === null || past <= 0 ? null : (spent / past) * 100,
        memoryBytes: use?.memoryBytes ?? null,
        memoryBytesMax: totalmem(),
        diskBytesFree: disk.bavail * disk.bsize,
        diskBytesMax: disk.blocks * disk.bsize,
      }
    },
    async check() {
      const disk = statfsSync(existsSync(folder) ? folder : '.')
      const free = ((disk.bavail / disk.blocks) * 100).toFixed(0)
      const isGood = disk.bavail / disk.blocks > 0.1
      return [{ what: 'disk', isGood, text: `${free} % of the disk of ${folder} is free` }]
    },
    async close() {
      isClosed = true
      await Promise.all([...entries.values()].map((entry) => inTurn(entry, () => halt(entry))))
    },
  }
}

/** What was on the disk is kept once, for people to look at. */
function setAside(folder: string, { generation }: MachineSpec): void {
  const database = join(folder, 'db')
  if (existsSync(database)) {
    rmSync(`${database}.replaced`, { recursive: true, force: true })
    renameSync(database, `${database}.replaced`)
  }
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  writeFileSync(join(folder, generationFile), String(generation))
}

function generationOf(folder: string): number {
  try {
    return Number(readFileSync(join(folder, generationFile), 'utf8')) || 1
  } catch {
    return 1
  }
}
