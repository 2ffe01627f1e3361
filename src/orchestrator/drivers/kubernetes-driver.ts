/**
 * The driver `kubernetes`: one StatefulSet of one for each machine, through the API server alone. Objects are applied, not
 * created, so that what an interrupted call made is taken over. Right is needed to get, list, patch and delete them.
 */
import type { JsonObject } from '../../lib/json.ts'
import type { NodeId } from '../../store/catalogue.ts'
import type { KubernetesAccess } from './kubernetes-access.ts'
import {
  addressOf,
  claimNameOf,
  collections,
  type KubernetesShape,
  labelNames,
  nameOf,
  objectsOf,
  selectorOf,
} from './kubernetes-objects.ts'
import {
  DriverFailed,
  type DriverFinding,
  type MachineSpec,
  type MachineView,
  type NodeDriver,
  noFigures,
} from './node-driver.ts'
import { callProvider, listAt, objectAt, type ProviderAnswer, textAt } from './provider-call.ts'

export interface KubernetesDriverDeps {
  readonly access: KubernetesAccess
  readonly shape: KubernetesShape
}

/** Sets of one node, oldest generation first. */
interface SetView {
  readonly name: string
  readonly node: NodeId
  readonly generation: number
  readonly wanted: number
  readonly ready: number
}

const applyType = 'application/apply-patch+yaml'
const applyQuery = '?fieldManager=flapjack&force=true'

export function createKubernetesDriver({ access, shape }: KubernetesDriverDeps): NodeDriver {
  const { fleet, namespace } = shape
  const call = (
    method: 'GET' | 'PATCH' | 'DELETE',
    path: string,
    signal: AbortSignal,
    more: { readonly body?: JsonObject; readonly type?: string; readonly secrets?: readonly string[] } = {},
  ): Promise<ProviderAnswer> => {
    const { server, dispatcher } = access
    return callProvider({ method, url: `${server}${path}`, token: access.token(), dispatcher, signal, ...more })
  }

  async function demand(what: string, answer: Promise<ProviderAnswer>): Promise<JsonObject> {
    const { status, body, message } = await answer
    if (status >= 200 && status < 300) return body
    throw new DriverFailed(`${what}: the API server answers ${status}: ${message}`)
  }

  async function apply(spec: MachineSpec, signal: AbortSignal): Promise<void> {
    for (const { collection, name, manifest } of objectsOf(spec, shape)) {
      const sent = { body: manifest, type: applyType, secrets: [spec.key] }
      await demand(`${name} was not applied`, call('PATCH', `${collection}/${name}${applyQuery}`, signal, sent))
    }
  }

  async function sets(signal: AbortSignal, node?: NodeId): Promise<readonly SetView[]> {
    const selector = encodeURIComponent(selectorOf(fleet, node))
    const path = `${collections.sets(namespace)}?labelSelector=${selector}`
    const { items } = await demand('sets were not listed', call('GET', path, signal)).then((body) => ({
      items: listAt(body, 'items'),
    }))
    return items.map(readSet).sort((a, b) => a.generation - b.generation)
  }

  async function newest(node: NodeId, signal: AbortSignal): Promise<SetView> {
    const found = (await sets(signal, node)).at(-1)
    if (found === undefined) throw new DriverFailed(`node \`${node}\` has no StatefulSet in ${namespace}`)
    return found
  }

  async function scale(node: NodeId, replicas: 0 | 1, signal: AbortSignal): Promise<void> {
    const { name } = await newest(node, signal)
    const sent = { body: { spec: { replicas } }, type: 'application/merge-patch+json' }
    await demand(`${name} was not scaled`, call('PATCH', `${collections.sets(namespace)}/${name}`, signal, sent))
  }

  async function remove(path: string, signal: AbortSignal): Promise<void> {
    const { status, message } = await call('DELETE', path, signal)
    if (status === 404 || (status >= 200 && status < 300)) return
    throw new DriverFailed(`${path} was not deleted: the API server answers ${status}: ${message}`)
  }

  /** The claim outlives its set unless it is deleted too. */
  async function removeSet({ name }: SetView, signal: AbortSignal): Promise<void> {
    await remove(`${collections.sets(namespace)}/${name}`, signal)
    await remove(`${collections.claims(namespace)}/${claimNameOf(name)}`, signal)
  }

  function view(set: SetView): MachineView {
    const state = set.wanted === 0 ? 'stopped' : set.ready > 0 ? 'running' : 'starting'
    return { node: set.node, state, url: addressOf(shape, set.node), reason: null }
  }

  return {
    kind: 'kubernetes',
    can: { create: true, restart: true, replace: true, destroy: true },
    create: apply,
    start: (node, signal) => scale(node, 1, signal),
    stop: (node, signal) => scale(node, 0, signal),
    async restart(node, signal) {
      const { name } = await newest(node, signal)
      await scale(node, 1, signal)
      await remove(`${collections.pods(namespace)}/${name}-0`, signal)
    },
    async replace(spec, signal) {
      await apply(spec, signal)
      for (const set of await sets(signal, spec.node)) {
        if (set.generation < spec.generation) await removeSet(set, signal)
      }
    },
    async destroy(node, signal) {
      for (const set of await sets(signal, node)) await removeSet(set, signal)
      const name = nameOf(fleet, node)
      for (const of of [collections.services, collections.policies, collections.secrets] as const) {
        await remove(`${of(namespace)}/${name}`, signal)
      }
    },
    async describe(node, signal) {
      const found = (await sets(signal, node)).at(-1)
      return found === undefined ? { node, state: 'absent', url: null, reason: null } : view(found)
    },
    async list(signal) {
      const byNode = new Map((await sets(signal)).map((set) => [set.node, set]))
      return [...byNode.values()].map(view)
    },
    // Those are the cluster's to tell (metrics.k8s.io is not everywhere); the engine's own are read as of any node.
    figures: async () => noFigures,
    async check(signal) {
      const findings: DriverFinding[] = []
      for (const [what, of] of Object.entries(collections)) {
        const { status, message } = await call('GET', `${of(namespace)}?limit=1`, signal)
        const isGood = status === 200
        const advice = `the API server answers ${status} (${message}): give the account the verbs get, list, patch and delete on them in ${namespace}`
        findings.push({ what, isGood, text: isGood ? `can be listed in ${namespace}` : advice })
      }
      return findings
    },
  }
}

function readSet(item: JsonObject): SetView {
  const metadata = objectAt(item, 'metadata')
  const labels = objectAt(metadata, 'labels')
  const wanted = objectAt(item, 'spec').replicas
  const ready = objectAt(item, 'status').readyReplicas
  return {
    name: textAt(metadata, 'name') ?? '',
    node: textAt(labels, labelNames.node) ?? '',
    generation: Number(textAt(labels, labelNames.generation) ?? 1),
    wanted: typeof wanted === 'number' ? wanted : 1,
    ready: typeof ready === 'number' ? ready : 0,
  }
}
