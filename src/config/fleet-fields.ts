/** Who looks after nodes, and what may be done by itself: section `fleet` (P-36 to P-40). */
import { byteCount, choice, duration, type Field, field, integer, optional, secret, text, url } from './field.ts'

const gibibyte = 1024 ** 3
const hour = 3_600_000

function fleetField<T>(
  name: string,
  decoder: Field<T>['decoder'],
  initial: T,
  about: string,
  initialText?: string,
): Field<T> {
  const env = [`FLAPJACK_FLEET_${name.toUpperCase()}`]
  return field(decoder, initial, { env, about, ...(initialText === undefined ? {} : { initialText }) })
}

const healingFields = {
  badPercentMax: fleetField(
    'healing_bad_percent_max',
    integer(1, 100),
    30,
    'When a larger share of the nodes of a region is away, nothing is done by itself until `flapjack fleet release`. No more are worked on at once either. One always may be.',
  ),
  replacementsMax: fleetField(
    'healing_replacements_max',
    integer(1, 100),
    2,
    'Machines that are replaced at the same time.',
  ),
  restartsMax: fleetField(
    'healing_restarts_max',
    integer(0, 20),
    3,
    'Starts within `fleet.healing.restart_window_ms` that a node that is down gets, before its machine is replaced.',
  ),
  restartWindowMs: fleetField(
    'healing_restart_window_ms',
    duration(1_000, 24 * hour),
    600_000,
    'See `fleet.healing.restarts_max`.',
    '10m',
  ),
  restartPauseMs: fleetField(
    'healing_restart_pause_ms',
    duration(100, hour),
    10_000,
    'Pause behind a start; twice as long behind each further one.',
    '10s',
  ),
  coolDownMs: fleetField(
    'healing_cool_down_ms',
    duration(1_000, 24 * hour),
    600_000,
    'So long nothing is done to a node whose machine was replaced.',
    '10m',
  ),
} as const

const limit = (name: string, max: number, what: string) =>
  fleetField(
    `scaling_${name}`,
    optional(integer(1, max)),
    null,
    `${what} above which, held for \`fleet.scaling.hot_ms\`, a node gives an index to another one that has room; where none has, the driver is asked for a node more.`,
  )

const scalingFields = {
  cpuPercentMax: limit('cpu_percent_max', 25_600, 'Processor time of its engine, in per cent of one processor,'),
  memoryPercentMax: limit('memory_percent_max', 100, 'Share of its memory'),
  diskPercentMax: limit('disk_percent_max', 100, 'Share of its disk'),
  dataBytesMax: fleetField(
    'scaling_data_bytes_max',
    optional(byteCount(1, 2 ** 50)),
    null,
    'Size of the database of a node above which it does, as with the other limits.',
  ),
  searchMsMax: limit(
    'search_ms_max',
    600_000,
    '95th percentile of the time of searches in its engine, in milliseconds,',
  ),
  searchesPerSecondMax: limit('searches_per_second_max', 1_000_000, 'Searches per second'),
  indexesMax: limit('indexes_max', 1_000_000, 'Number of indexes'),
  hotMs: fleetField('scaling_hot_ms', duration(100, 24 * hour), 600_000, 'So long a limit must be exceeded.', '10m'),
  idlePercent: fleetField(
    'scaling_idle_percent',
    optional(integer(1, 100)),
    null,
    'A node that a driver made and that stays below this share of every limit for `fleet.scaling.idle_ms` is emptied and given back, when the others stay below `fleet.scaling.kept_percent_max` without it.',
  ),
  idleMs: fleetField(
    'scaling_idle_ms',
    duration(100, 30 * 24 * hour),
    hour,
    'See `fleet.scaling.idle_percent`.',
    '60m',
  ),
  targetPercent: fleetField(
    'scaling_target_percent',
    integer(1, 100),
    70,
    'Share of its limits up to which a node is filled by what leaves others.',
  ),
  keptPercentMax: fleetField('scaling_kept_percent_max', integer(1, 100), 60, 'See `fleet.scaling.idle_percent`.'),
  coolDownMs: fleetField(
    'scaling_cool_down_ms',
    duration(100, 30 * 24 * hour),
    1_800_000,
    'Pause between two changes of the number of nodes.',
    '30m',
  ),
  nodesMin: fleetField('scaling_nodes_min', integer(1, 10_000), 1, 'Fewest nodes of each replica group in a region.'),
  nodesMax: fleetField('scaling_nodes_max', integer(1, 10_000), 8, 'Most nodes of each replica group in a region.'),
} as const

const kubernetesFields = {
  kubeconfig: fleetField(
    'kubernetes_kubeconfig',
    optional(text),
    null,
    'File that names the cluster and an account with a token or a certificate.',
    'the account of the pod that we run in',
  ),
  namespace: fleetField(
    'kubernetes_namespace',
    text,
    'flapjack',
    'Where nodes stand. Gateways and workers must run there too: nothing else reaches the nodes.',
  ),
  image: fleetField(
    'kubernetes_image',
    optional(text),
    null,
    'Container image of the engine, such as `getmeili/meilisearch:v1.50.0`; it is to fit `engine.kind`.',
  ),
  storageClass: fleetField(
    'kubernetes_storage_class',
    optional(text),
    null,
    'Storage class of the volumes.',
    "the cluster's",
  ),
  diskBytes: fleetField(
    'kubernetes_disk',
    byteCount(gibibyte / 16, 2 ** 50),
    20 * gibibyte,
    'Size of a volume.',
    '20 GiB',
  ),
  memoryBytes: fleetField(
    'kubernetes_memory',
    optional(byteCount(64 * 1024 ** 2, 2 ** 45)),
    null,
    'Memory that a node requests, and may use.',
  ),
  cpuMilli: fleetField(
    'kubernetes_cpu_milli',
    optional(integer(1, 1_000_000)),
    null,
    'Thousandths of a processor that a node requests.',
  ),
} as const

const hetznerFields = {
  token: fleetField('hetzner_token', optional(secret), null, 'Token of a project, with the right to read and write.'),
  apiUrl: fleetField(
    'hetzner_api_url',
    url('https:', 'http:'),
    'https://api.hetzner.cloud/v1',
    'Where the API is; another address is for tests.',
  ),
  serverType: fleetField('hetzner_server_type', text, 'cx22', 'Type of the servers.'),
  image: fleetField('hetzner_image', text, 'debian-12', 'Image of the servers; it needs cloud-init and systemd.'),
  locations: fleetField(
    'hetzner_locations',
    text,
    'fsn1,nbg1,hel1',
    'Locations, separated by commas; where one has no room the next is tried.',
  ),
  networkId: fleetField(
    'hetzner_network_id',
    optional(integer(1, Number.MAX_SAFE_INTEGER)),
    null,
    'Private network in which nodes, gateways and workers reach each other. Without one, engines are reached at public addresses, in clear text: only behind a firewall.',
  ),
  firewallId: fleetField(
    'hetzner_firewall_id',
    optional(integer(1, Number.MAX_SAFE_INTEGER)),
    null,
    'Firewall of the servers.',
  ),
  sshKey: fleetField('hetzner_ssh_key', optional(text), null, 'Name of an SSH key that may log in on the servers.'),
  engineUrl: fleetField(
    'hetzner_engine_url',
    optional(url('https:', 'http:')),
    null,
    "Where a server downloads the engine's program: a Meilisearch for its processor.",
  ),
  engineSha256: fleetField(
    'hetzner_engine_sha256',
    optional(text),
    null,
    'SHA-256 of that program, in hex. Another one is not run.',
  ),
} as const

export const fleetFields = {
  mode: field(choice('off', 'watch', 'act'), 'off', {
    env: ['FLAPJACK_FLEET_MODE'],
    about:
      '`watch`: a worker probes all nodes, keeps events and what they carry, and says what it would do. `act`: it does it, as [the orchestrator](orchestrator.md) tells. `off`: nothing of it runs; engines that `up` started are started again in any case.',
  }),
  name: fleetField(
    'name',
    text,
    'flapjack',
    'Begins the names of machines that drivers make, and labels them: 1 to 20 lower-case letters, digits and inner hyphens. Two installations in one account or namespace need different ones.',
  ),
  driver: fleetField(
    'driver',
    optional(choice('local', 'kubernetes', 'hetzner')),
    null,
    'What makes new machines: processes of this machine (only in `up`), StatefulSets, or servers of Hetzner Cloud. Their engine is that of `engine.kind`.',
    'none: nodes are added by people',
  ),
  region: fleetField('region', text, 'local', 'Region of the nodes that the driver makes.'),
  probeMs: fleetField('probe_ms', duration(100, 600_000), 5_000, 'Between two probes of a node.', '5s'),
  probeTimeoutMs: fleetField('probe_timeout_ms', duration(10, 60_000), 2_000, 'After which a probe has failed.', '2s'),
  sampleMs: fleetField('sample_ms', duration(100, hour), 60_000, 'Between two looks at what a node carries.', '60s'),
  suspectAfter: fleetField('suspect_after', integer(1, 100), 2, 'Failed probes in a row that make a node suspect.'),
  downAfter: fleetField('down_after', integer(1, 100), 5, 'Failed probes in a row that make it down.'),
  upAfter: fleetField('up_after', integer(1, 100), 2, 'Good probes in a row that make it up again.'),
  lostAfterMs: fleetField('lost_after_ms', duration(100, 24 * hour), 300_000, 'So long down, it is lost.', '5m'),
  startMsMax: fleetField('start_ms_max', duration(100, 24 * hour), 120_000, 'So long may a node take to start.', '2m'),
  provisionMsMax: fleetField(
    'provision_ms_max',
    duration(100, 24 * hour),
    900_000,
    'So long may it take until a new machine is a node; then it is given back.',
    '15m',
  ),
  healing: healingFields,
  scaling: scalingFields,
  kubernetes: kubernetesFields,
  hetzner: hetznerFields,
} as const

type ValueOf<F> = F extends Field<infer T> ? T : { readonly [N in keyof F]: ValueOf<F[N]> }
export type FleetConfig = ValueOf<typeof fleetFields>

/** What single fields cannot say. */
export function fleetMistakes({
  name,
  driver,
  downAfter,
  suspectAfter,
  scaling,
  kubernetes,
  hetzner,
}: FleetConfig): string[] {
  const mistakes: string[] = []
  if (!/^[a-z0-9](?:[a-z0-9-]{0,18}[a-z0-9])?$/.test(name)) {
    mistakes.push('fleet.name: expected 1 to 20 lower-case letters, digits and inner hyphens')
  }
  if (suspectAfter > downAfter) mistakes.push('fleet.suspect_after: is at most `fleet.down_after`')
  const { idlePercent, targetPercent, nodesMin, nodesMax } = scaling
  if (idlePercent !== null && idlePercent >= targetPercent) {
    mistakes.push(
      'fleet.scaling.idle_percent: is below `fleet.scaling.target_percent`; else a node is filled and emptied in turns',
    )
  }
  if (nodesMin > nodesMax) mistakes.push('fleet.scaling.nodes_min: is at most `fleet.scaling.nodes_max`')
  if (driver === 'kubernetes' && kubernetes.image === null) {
    mistakes.push('fleet.kubernetes.image: is needed by the driver `kubernetes`')
  }
  if (driver === 'hetzner') {
    if (hetzner.token === null) mistakes.push('fleet.hetzner.token: is needed by the driver `hetzner`')
    if (hetzner.engineUrl === null) mistakes.push('fleet.hetzner.engine_url: is needed by the driver `hetzner`')
    if (!/^[0-9a-f]{64}$/.test(hetzner.engineSha256 ?? '')) {
      mistakes.push('fleet.hetzner.engine_sha256: 64 hex digits are needed by the driver `hetzner`')
    }
  }
  return mistakes
}
