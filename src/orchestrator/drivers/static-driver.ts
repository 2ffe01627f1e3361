/** Nodes that somebody else runs at an address. They are watched, and everything else is a person's work. */
import type { NodeId } from '../../store/catalogue.ts'
import { type MachineView, type NodeDriver, noFigures, unsupported } from './node-driver.ts'

/** @param nodes  those that are registered. */
export function createStaticDriver(
  nodes: () => Promise<readonly { readonly id: NodeId; readonly url: string }[]>,
): NodeDriver {
  const refuse = (act: string) => async (): Promise<never> => {
    throw unsupported('static', act, 'do it where the node runs, or add nodes with `fleet.driver`')
  }
  const view = ({ id, url }: { readonly id: NodeId; readonly url: string }): MachineView => {
    return { node: id, state: 'running', url, reason: null }
  }
  return {
    kind: 'static',
    can: { create: false, restart: false, replace: false, destroy: false },
    create: refuse('create a machine'),
    start: refuse('start a node'),
    stop: refuse('stop a node'),
    restart: refuse('restart a node'),
    replace: refuse('replace a machine'),
    destroy: refuse('destroy a machine'),
    async describe(node) {
      const known = (await nodes()).find(({ id }) => id === node)
      return known === undefined ? { node, state: 'absent', url: null, reason: null } : view(known)
    },
    list: async () => (await nodes()).map(view),
    figures: async () => noFigures,
    check: async () => [
      {
        what: 'driver',
        isGood: true,
        text: 'static: nodes are added with `flapjack node add`, and nothing is started',
      },
    ],
  }
}
