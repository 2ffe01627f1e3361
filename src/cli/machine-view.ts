/** Machines and what nodes carry, as commands show them. */
import type { Machine, NodeSample } from '../store/fleet.ts'

export function machineView({
  node,
  driver,
  life,
  health,
  healthSince,
  region,
  group,
  generation,
  record,
  wish,
}: Machine) {
  return {
    ...{
      id: node,
      driver,
      life,
      health,
      healthSince: new Date(healthSince).toISOString(),
      region,
      group,
      generation,
      wish,
    },
    restarts: (record.restarts ?? []).map((at) => new Date(at).toISOString()),
    failure: record.failure ?? null,
  }
}

export function sampleView(sample: NodeSample | undefined) {
  if (sample === undefined) return null
  const { node: _node, at, ...figures } = sample
  return { at: new Date(at).toISOString(), ...figures }
}

export const percentText = (value: number | null | undefined) => (value == null ? '' : `${value.toFixed(0)} %`)

export function sizeText(bytes: number | null | undefined): string {
  if (bytes == null) return ''
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${(bytes / 1e6).toFixed(0)} MB`
}
