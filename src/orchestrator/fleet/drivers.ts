/** The drivers that a process has, as its configuration names them. */
import type { FleetConfig } from '../../config/fleet-fields.ts'
import { assert } from '../../lib/assert.ts'
import type { EngineKind, Node } from '../../store/catalogue.ts'
import { createCloudDriver } from '../drivers/cloud-driver.ts'
import { createHetzner } from '../drivers/hetzner.ts'
import { openAccess } from '../drivers/kubernetes-access.ts'
import { createKubernetesDriver } from '../drivers/kubernetes-driver.ts'
import type { NodeDriver } from '../drivers/node-driver.ts'
import { createStaticDriver } from '../drivers/static-driver.ts'
import type { Drivers } from './fleet-rules.ts'
import { nextNodeId } from './node-ids.ts'

export interface DriverParts {
  readonly config: FleetConfig
  readonly engine: EngineKind
  readonly nodes: () => Promise<readonly Node[]>
  /** Only in a program that runs engines itself. */
  readonly local: NodeDriver | undefined
  readonly env: Readonly<Record<string, string | undefined>>
}

/** Ports of engines on servers of a cloud. */
const cloudPort = 7700

/** @throws DriverFailed when a driver that is named cannot be made. */
export function openDrivers({ config, engine, nodes, local, env }: DriverParts): Drivers {
  const others = otherDriver(config, env)
  const known: readonly NodeDriver[] = [
    createStaticDriver(nodes),
    ...(local ? [local] : []),
    ...(others ? [others] : []),
  ]
  return {
    of: (kind) => known.find((driver) => driver.kind === kind),
    maker: config.driver === null ? undefined : known.find(({ kind }) => kind === config.driver),
    engine,
    region: config.region,
    nextId: (ids) => nextNodeId(config.driver, engine, ids),
  }
}

function otherDriver(config: FleetConfig, env: DriverParts['env']): NodeDriver | undefined {
  const { driver, name: fleet, kubernetes, hetzner } = config
  if (driver === 'kubernetes') {
    const { image, kubeconfig, ...shape } = kubernetes
    assert(image !== null, 'the configuration was checked')
    return createKubernetesDriver({ access: openAccess(kubeconfig, env), shape: { ...shape, fleet, image } })
  }
  if (driver === 'hetzner') {
    const { token, engineUrl, engineSha256, firewallId, sshKey, locations, ...rest } = hetzner
    assert(token !== null && engineUrl !== null && engineSha256 !== null, 'the configuration was checked')
    const provider = createHetzner({
      ...rest,
      token: token.reveal(),
      locations: locations.split(',').map((location) => location.trim()),
      firewallIds: firewallId === null ? [] : [firewallId],
      sshKeys: sshKey === null ? [] : [sshKey],
    })
    return createCloudDriver({ provider, fleet, software: { engineUrl, engineSha256, port: cloudPort } })
  }
  return undefined
}
