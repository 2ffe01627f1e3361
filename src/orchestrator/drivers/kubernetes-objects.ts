/**
 * What a node is in Kubernetes: a StatefulSet of one with its volume claim, a Service that stays while sets come and go, a
 * Secret with the master key, and a NetworkPolicy. Pure.
 */
import type { JsonObject } from '../../lib/json.ts'
import type { EngineKind, NodeId } from '../../store/catalogue.ts'
import type { MachineSpec } from './node-driver.ts'

export interface KubernetesShape {
  /** Of this installation: begins names, and labels everything. */
  readonly fleet: string
  readonly namespace: string
  readonly image: string
  /** null = the cluster's default. */
  readonly storageClass: string | null
  readonly diskBytes: number
  /** Requested, and the limit of memory; null = neither. */
  readonly memoryBytes: number | null
  /** Thousandths of a processor that are requested; null = none. */
  readonly cpuMilli: number | null
}

export interface KubernetesObject {
  /** Path of its collection in the API. */
  readonly collection: string
  readonly name: string
  readonly manifest: JsonObject
}

const port = 7700
export const labelNames = {
  managed: 'app.kubernetes.io/managed-by',
  fleet: 'flapjack/fleet',
  node: 'flapjack/node',
  generation: 'flapjack/generation',
} as const

export const nameOf = (fleet: string, node: NodeId) => `${fleet}-${node}`
export const setNameOf = (fleet: string, node: NodeId, generation: number) => `${fleet}-${node}-${generation}`
/** The API names claims so. */
export const claimNameOf = (setName: string) => `data-${setName}-0`

export function selectorOf(fleet: string, node?: NodeId): string {
  const own = `${labelNames.managed}=flapjack,${labelNames.fleet}=${fleet}`
  return node === undefined ? own : `${own},${labelNames.node}=${node}`
}

export const collections = {
  secrets: (namespace: string) => `/api/v1/namespaces/${namespace}/secrets`,
  services: (namespace: string) => `/api/v1/namespaces/${namespace}/services`,
  pods: (namespace: string) => `/api/v1/namespaces/${namespace}/pods`,
  claims: (namespace: string) => `/api/v1/namespaces/${namespace}/persistentvolumeclaims`,
  sets: (namespace: string) => `/apis/apps/v1/namespaces/${namespace}/statefulsets`,
  policies: (namespace: string) => `/apis/networking.k8s.io/v1/namespaces/${namespace}/networkpolicies`,
} as const

/** Inside the cluster. */
export function addressOf({ fleet, namespace }: Pick<KubernetesShape, 'fleet' | 'namespace'>, node: NodeId): string {
  return `http://${nameOf(fleet, node)}.${namespace}.svc:${port}`
}

/** In the order in which they are to be there. */
export function objectsOf(spec: MachineSpec, shape: KubernetesShape): readonly KubernetesObject[] {
  const { fleet, namespace } = shape
  const { node, generation } = spec
  const name = nameOf(fleet, node)
  const setName = setNameOf(fleet, node, generation)
  const labels = { [labelNames.managed]: 'flapjack', [labelNames.fleet]: fleet, [labelNames.node]: node }
  const current = { ...labels, [labelNames.generation]: String(generation) }
  const place = (own: string) => ({ name: own, namespace, labels })
  return [
    {
      collection: collections.secrets(namespace),
      name,
      manifest: {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: place(name),
        type: 'Opaque',
        stringData: { 'master-key': spec.key },
      },
    },
    {
      collection: collections.policies(namespace),
      name,
      manifest: {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        metadata: place(name),
        // Only what runs in the same namespace, gateways and workers among it, reaches the engine.
        spec: {
          podSelector: { matchLabels: labels },
          policyTypes: ['Ingress'],
          ingress: [{ from: [{ podSelector: {} }], ports: [{ port, protocol: 'TCP' }] }],
        },
      },
    },
    {
      collection: collections.sets(namespace),
      name: setName,
      manifest: {
        apiVersion: 'apps/v1',
        kind: 'StatefulSet',
        metadata: { name: setName, namespace, labels: current },
        spec: {
          // Two engines on one disk would be two nodes: never more than one.
          replicas: 1,
          serviceName: name,
          selector: { matchLabels: current },
          template: { metadata: { labels: current }, spec: podSpec(spec.engine, name, shape) },
          volumeClaimTemplates: [
            {
              metadata: { name: 'data', labels: current },
              spec: {
                accessModes: ['ReadWriteOnce'],
                ...(shape.storageClass === null ? {} : { storageClassName: shape.storageClass }),
                resources: { requests: { storage: String(shape.diskBytes) } },
              },
            },
          ],
        },
      },
    },
    {
      collection: collections.services(namespace),
      name,
      manifest: {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: place(name),
        // Its name is the node's address; what is behind it changes with the machine.
        spec: { selector: current, ports: [{ name: 'http', port, targetPort: port }] },
      },
    },
  ]
}

function podSpec(engine: EngineKind, secretName: string, shape: KubernetesShape): JsonObject {
  const probe = (more: JsonObject): JsonObject => ({ httpGet: { path: '/health', port }, ...more })
  const requests = {
    ...(shape.cpuMilli === null ? {} : { cpu: `${shape.cpuMilli}m` }),
    ...(shape.memoryBytes === null ? {} : { memory: String(shape.memoryBytes) }),
  }
  const limits = shape.memoryBytes === null ? {} : { memory: String(shape.memoryBytes) }
  return {
    automountServiceAccountToken: false,
    terminationGracePeriodSeconds: 60,
    securityContext: { fsGroup: 1000 },
    containers: [
      {
        name: 'engine',
        image: shape.image,
        ...(engine === 'embedded'
          ? {
              args: [
                'engine',
                '--data-dir',
                '/data',
                '--http-addr',
                `0.0.0.0:${port}`,
                '--experimental-enable-metrics',
              ],
            }
          : {}),
        env: [
          { name: 'MEILI_MASTER_KEY', valueFrom: { secretKeyRef: { name: secretName, key: 'master-key' } } },
          ...(engine === 'meilisearch' ? meilisearchEnvironment : []),
        ],
        ports: [{ name: 'http', containerPort: port }],
        // A large database may take long to open.
        startupProbe: probe({ periodSeconds: 2, failureThreshold: 300 }),
        readinessProbe: probe({ periodSeconds: 5, failureThreshold: 2 }),
        volumeMounts: [{ name: 'data', mountPath: '/data' }],
        resources: { requests, limits },
      },
    ],
  }
}

const meilisearchEnvironment: readonly JsonObject[] = [
  { name: 'MEILI_ENV', value: 'production' },
  { name: 'MEILI_NO_ANALYTICS', value: 'true' },
  { name: 'MEILI_HTTP_ADDR', value: `0.0.0.0:${port}` },
  { name: 'MEILI_DB_PATH', value: '/data/db' },
  { name: 'MEILI_DUMP_DIR', value: '/data/dumps' },
  { name: 'MEILI_SNAPSHOT_DIR', value: '/data/snapshots' },
  { name: 'MEILI_EXPERIMENTAL_ENABLE_METRICS', value: 'true' },
]
