/** What goes wrong in a run of the simulator, and when: drawn from the seed, and over when the storm is. */
import type { Random } from '../../src/lib/random.ts'
import type { Scheduler } from './scheduler.ts'
import type { SimGateway } from './sim-gateway.ts'
import type { Disk, SimNode } from './sim-node.ts'
import type { SimProcess } from './sim-process.ts'

export interface FaultOptions {
  readonly scheduler: Scheduler
  readonly random: Random
  /** Draws what came later; `undefined` = none of that. */
  readonly hardships: Random | undefined
  readonly gateway: SimGateway | undefined
  readonly nodes: ReadonlyMap<string, SimNode>
  readonly workers: readonly SimProcess[]
  readonly startWorker: () => void
  readonly note: (text: string) => void
  readonly stormMs: number
}

/** Each kind of fault is in some of the runs only, so that runs differ in more than their dice. */
export function scheduleFaults(options: FaultOptions): void {
  scheduleWorkerFaults(options)
  scheduleGatewayFaults(options)
  for (const node of options.nodes.values()) {
    scheduleCrashes(options, node)
    scheduleIllness(options, node)
  }
}

function scheduleWorkerFaults(options: FaultOptions): void {
  const { scheduler, random, hardships, nodes, workers, startWorker, note, stormMs } = options
  const living = () => workers.filter(({ isDead }) => !isDead)
  const victimOf = (some: readonly SimProcess[]) => some[random.integer(Math.max(1, some.length))]
  for (let count = random.integer(3); count > 0; count -= 1) {
    scheduler.after(random.integer(stormMs), () => {
      const victim = victimOf(living())
      if (victim === undefined) return
      victim.isDead = true
      note(`kill ${victim.name}`)
      scheduler.after(random.integer(3_000), startWorker)
    })
  }
  // Long enough that its leases run out, in some.
  const spell = () => 500 + random.integer(25_000)
  const during = (chance: number, begin: (victim: SimProcess) => () => void) => {
    if (random.float() >= chance) return
    scheduler.after(random.integer(stormMs), () => {
      const victim = victimOf(living())
      if (victim === undefined) return
      const end = begin(victim)
      scheduler.after(spell(), end)
    })
  }
  during(0.2, (victim) => {
    const kind = hardships !== undefined && hardships.float() < 0.5 ? 'deaf' : 'cut'
    note(`${victim.name} is ${kind} to the store`)
    victim.storeLink = kind
    return () => {
      victim.storeLink = undefined
    }
  })
  during(0.2, (victim) => {
    note(`stop ${victim.name}`)
    victim.stop()
    return () => {
      note(`resume ${victim.name}`)
      victim.resume()
    }
  })
  for (const node of nodes.keys()) {
    during(0.25, (victim) => {
      const kind = random.float() < 0.5 ? 'cut' : 'deaf'
      note(`${victim.name} is ${kind} to ${node}`)
      victim.links.set(node, kind)
      return () => victim.links.delete(node)
    })
  }
}

/** Between it and a node nothing passes for a while. */
function scheduleGatewayFaults({ scheduler, hardships, gateway, nodes, note, stormMs }: FaultOptions): void {
  if (gateway === undefined || hardships === undefined) return
  for (const node of nodes.keys()) {
    if (hardships.float() >= 0.2) continue
    const spellMs = 500 + hardships.integer(10_000)
    scheduler.after(hardships.integer(stormMs), () => {
      note(`the gateway is cut off from ${node}`)
      gateway.process.links.set(node, 'cut')
      scheduler.after(spellMs, () => gateway.mend(node))
    })
  }
}

function scheduleCrashes({ scheduler, random, note, stormMs }: FaultOptions, node: SimNode): void {
  let backup: Disk | undefined
  if (random.float() < 0.3)
    scheduler.after(random.integer(stormMs / 2), () => {
      backup = node.backup()
    })
  const isRough = random.float() < 0.4
  for (let count = random.integer(3); count > 0; count -= 1) {
    scheduler.after(random.integer(stormMs), () => {
      if (!node.isUp || node.isStopped) return
      const kind = isRough ? random.integer(4) : 0
      node.crash(kind === 1)
      if (kind === 2) node.wipe()
      if (kind === 3 && backup !== undefined) {
        node.restore(backup)
        backup = undefined
      }
      note(`crash ${node.id} ${['plain', 'damaged', 'wiped', 'older'][kind]}`)
      scheduler.after(50 + random.integer(random.float() < 0.8 ? 4_000 : 20_000), () => node.start())
    })
  }
}

function scheduleIllness({ scheduler, random, hardships, note, stormMs }: FaultOptions, node: SimNode): void {
  if (random.float() < 0.3)
    scheduler.after(random.integer(stormMs), () => {
      if (!node.isUp) return
      note(`stop ${node.id}`)
      node.stop()
      scheduler.after(500 + random.integer(20_000), () => {
        note(`resume ${node.id}`)
        node.resume()
      })
    })
  if (random.float() < 0.2)
    scheduler.after(random.integer(stormMs), () => {
      node.slowness = 2 + random.integer(30)
      note(`${node.id} is slow ${node.slowness}`)
    })
  if (random.float() < 0.3) node.lieChance = 0.1
  if (hardships !== undefined && hardships.float() < 0.15) node.forgetChance = 0.1
}

/** The storm is over. */
export function endFaults({ nodes, workers, startWorker, gateway }: FaultOptions): void {
  for (const node of nodes.keys()) gateway?.mend(node)
  for (const node of nodes.values()) {
    Object.assign(node, { troubleChance: 0, lieChance: 0, forgetChance: 0, slowness: 1, isPicky: false })
    if (node.isStopped) node.resume()
    if (!node.isUp) node.start()
  }
  for (const worker of workers) {
    worker.storeLink = undefined
    worker.mendLinks()
    if (worker.isStopped) worker.resume()
  }
  if (workers.every(({ isDead }) => isDead)) startWorker()
}
