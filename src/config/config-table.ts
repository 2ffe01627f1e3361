/**
 * Every field of the configuration: where it is read from, what it accepts, its default and what it is for.
 * `docs/config.md` is generated from this table.
 */
import { antiEntropyFields } from './anti-entropy-fields.ts'
import { backupFields } from './backup-fields.ts'
import {
  byteCount,
  choice,
  duration,
  field,
  flagValue,
  integer,
  list,
  networks,
  optional,
  secret,
  socketAddress,
  text,
  url,
} from './field.ts'
import { fleetFields } from './fleet-fields.ts'
import { moveFields } from './move-fields.ts'
import {
  healthFields,
  hedgingFields,
  queryCoalescingFields,
  replicaSelectionFields,
  scatterFields,
  sessionPinningFields,
} from './read-fields.ts'
import { spreadFields } from './spread-fields.ts'
import { standaloneFields } from './standalone-fields.ts'
import { telemetryFields } from './telemetry-fields.ts'

const mebibyte = 1024 ** 2

function perSecond(whose: string, limitClass: keyof typeof limited) {
  const name = `${whose.split(' ')[1]}_${limitClass}`
  return field(optional(integer(1, 1_000_000)), null, {
    env: [`FLAPJACK_LIMITS_${name.toUpperCase()}_PER_SECOND`],
    about: `Most requests per second of ${whose} that ${limited[limitClass]}. More are refused with \`too_many_requests\`.`,
  })
}

const limited = {
  search: 'search or read documents',
  write: 'change documents, settings or indexes',
  admin: 'do anything else: tasks, statistics, keys, webhooks, dumps',
} as const

export const configTable = {
  data: {
    dir: field(text, './flapjack-data', {
      env: ['FLAPJACK_DATA_DIR', 'MEILI_DB_PATH'],
      flag: 'data-dir',
      about:
        'Folder that holds everything: the database, payloads, engine data, dumps, snapshots and logs. One running `flapjack up` owns it.',
    }),
  },
  http: {
    address: field(
      socketAddress,
      { host: '127.0.0.1', port: 7700 },
      {
        env: ['FLAPJACK_HTTP_ADDR', 'MEILI_HTTP_ADDR'],
        flag: 'http-addr',
        initialText: '127.0.0.1:7700',
        about: 'Where clients connect. Port 0 takes a free one and prints it.',
      },
    ),
    bodyBytesMax: field(byteCount(1024, 2 ** 40), 100_000_000, {
      env: ['FLAPJACK_HTTP_BODY_BYTES_MAX', 'MEILI_HTTP_PAYLOAD_SIZE_LIMIT'],
      flag: 'http-payload-size-limit',
      initialText: '100 MB',
      about: 'Largest request body after decompression. A larger one is refused with `payload_too_large`.',
    }),
    gateways: field(integer(1, 64), 1, {
      env: ['FLAPJACK_GATEWAYS'],
      flag: 'gateways',
      about: 'Gateway processes that share the port. One uses one core; add more when the gateway is what is busy.',
    }),
    baseDomain: field(optional(text), null, {
      env: ['FLAPJACK_HTTP_BASE_DOMAIN'],
      initialText: 'every host is taken',
      about:
        'Domain below which clients find us: `<region>.<base domain>` takes keys of every project, `<reference>.<region>.<base domain>` those of one project. Other hosts are refused with `misdirected_request`, but for those that a [project has of its own](operating.md#hosts-and-tls).',
    }),
    region: field(text, 'local', {
      env: ['FLAPJACK_HTTP_REGION'],
      about: 'Label of this gateway before `http.base_domain`.',
    }),
    drainMs: field(duration(0, 600_000), 10_000, {
      env: ['FLAPJACK_HTTP_DRAIN_MS'],
      about: 'How long requests in flight may go on after a signal to stop.',
    }),
  },
  tls: {
    certFile: field(optional(text), null, {
      env: ['FLAPJACK_TLS_CERT_FILE', 'MEILI_SSL_CERT_PATH'],
      flag: 'ssl-cert-path',
      about:
        'Certificate (PEM, with those that lead to a root): `http.address` then answers HTTPS, TLS 1.2 or newer. A file that is renewed is used within a second.',
    }),
    keyFile: field(optional(text), null, {
      env: ['FLAPJACK_TLS_KEY_FILE', 'MEILI_SSL_KEY_PATH'],
      flag: 'ssl-key-path',
      about: 'Private key (PEM) of `tls.cert_file`.',
    }),
    redirectAddress: field(optional(socketAddress), null, {
      env: ['FLAPJACK_TLS_REDIRECT_ADDR'],
      about: 'Where plain HTTP is answered with 308 to HTTPS.',
    }),
  },
  project: {
    masterKey: field(optional(secret), null, {
      env: ['FLAPJACK_MASTER_KEY', 'MEILI_MASTER_KEY'],
      flag: 'master-key',
      initialText: 'random',
      about: 'Master key of the first project, used when the folder is new. Later starts refuse a different one.',
    }),
    empty: field(flagValue, false, {
      env: ['FLAPJACK_EMPTY'],
      flag: 'empty',
      about: 'Starts a new folder without the demo data set.',
    }),
    taskWebhookUrl: field(optional(url('http:', 'https:')), null, {
      env: ['FLAPJACK_TASK_WEBHOOK_URL', 'MEILI_TASK_WEBHOOK_URL'],
      flag: 'task-webhook-url',
      about: 'Address that is told about finished tasks of the first project. It cannot be changed through the API.',
    }),
    taskWebhookAuthorization: field(optional(secret), null, {
      env: ['FLAPJACK_TASK_WEBHOOK_AUTHORIZATION', 'MEILI_TASK_WEBHOOK_AUTHORIZATION_HEADER'],
      flag: 'task-webhook-authorization-header',
      about: 'Value of the `Authorization` header sent to `project.task_webhook_url`.',
    }),
  },
  store: {
    databaseUrl: field(optional(secret), null, {
      env: ['FLAPJACK_DATABASE_URL', 'DATABASE_URL'],
      flag: 'database-url',
      initialText: 'the bundled PostgreSQL, inside the data folder',
      about:
        'PostgreSQL 15 or newer to use instead of the bundled one, such as `postgres://user:password@host:5432/db`.',
    }),
    postgresBin: field(optional(text), null, {
      env: ['FLAPJACK_POSTGRES_BIN'],
      initialText: 'the bundled PostgreSQL, else the one on the PATH',
      about: 'Folder with the programs `postgres` and `initdb` to use instead of the bundled ones.',
    }),
    sealingKey: field(optional(secret), null, {
      env: ['FLAPJACK_SEALING_KEY'],
      initialText: '`sealing.key` in the data folder, made at the first start',
      about:
        'Key that encrypts secrets in the database: 64 hex digits, or base64 of 32 bytes. Processes that share a database need the same one.',
    }),
    sealingKeyCommand: field(optional(text), null, {
      env: ['FLAPJACK_SEALING_KEY_COMMAND'],
      about:
        'Command that prints the sealing key, for keys that a KMS or Vault keeps: [examples](secrets.md#a-key-that-somebody-else-keeps). It runs once at every start, through the shell.',
    }),
    sealingKeyNext: field(optional(secret), null, {
      env: ['FLAPJACK_SEALING_KEY_NEXT'],
      about:
        'The key that is to follow `store.sealing_key`: both open the database while it is replaced with `flapjack secrets rotate`.',
    }),
    connectionsMax: field(integer(2, 200), 6, {
      env: ['FLAPJACK_STORE_CONNECTIONS_MAX'],
      about: 'Connections of one process to the database.',
    }),
    payloadRetentionMs: field(optional(duration(60_000, 315_360_000_000)), null, {
      env: ['FLAPJACK_PAYLOAD_RETENTION'],
      initialText: 'as long as their index',
      about:
        'How long the payloads of applied writes are kept. While they are there, an engine whose disk was lost is rebuilt from them.',
    }),
    routeCopyAgeMsMax: field(duration(0, 30 * 86_400_000), 86_400_000, {
      env: ['FLAPJACK_ROUTE_COPY_AGE_MAX'],
      initialText: '24h',
      about:
        'Gateways keep an encrypted copy of their routes, `routes.copy` in the data folder. One that starts while the database is away serves searches from a copy that is not older than this. `0` keeps none.',
    }),
    trustMsMax: field(optional(duration(1_000, 30 * 86_400_000)), null, {
      env: ['FLAPJACK_STORE_TRUST_MAX'],
      initialText: 'without end',
      about:
        'How long gateways trust what they know while the database is away. Keys that are revoked meanwhile work until it is back; after this time every request is refused with `route_unavailable`.',
    }),
  },
  outbound: {
    allowedIpNetworks: field(networks, [], {
      env: ['FLAPJACK_ALLOWED_IP_NETWORKS', 'MEILI_EXPERIMENTAL_ALLOWED_IP_NETWORKS'],
      flag: 'experimental-allowed-ip-networks',
      initialText: 'none',
      about:
        'Private, loopback and link-local addresses to which webhooks, embedders, exports and keys of token issuers may go. All others are refused, also when a name leads to them, so that a tenant cannot reach into your network.',
    }),
    httpsOnly: field(flagValue, false, {
      env: ['FLAPJACK_OUTBOUND_HTTPS_ONLY'],
      about: 'Refuses plain http for webhooks, exports, embedders and keys of token issuers.',
    }),
  },
  engine: {
    kind: field(choice('embedded', 'meilisearch'), 'embedded', {
      env: ['FLAPJACK_ENGINE'],
      flag: 'engine',
      about: 'The search engine behind the gateway: the embedded one, or real Meilisearch processes.',
    }),
    bin: field(optional(text), null, {
      env: ['FLAPJACK_ENGINE_BIN', 'MEILISEARCH_BIN'],
      flag: 'engine-bin',
      initialText: '`meilisearch` on the PATH',
      about: 'The Meilisearch program that is started when `engine.kind` is `meilisearch`.',
    }),
    url: field(optional(url('http:', 'https:')), null, {
      env: ['FLAPJACK_ENGINE_URL'],
      flag: 'engine-url',
      about: 'A running Meilisearch to use. Nothing is started then.',
    }),
    key: field(optional(secret), null, {
      env: ['FLAPJACK_ENGINE_KEY'],
      flag: 'engine-key',
      about: 'Master key of the engine at `engine.url`.',
    }),
    nodes: field(optional(integer(1, 16)), null, {
      env: ['FLAPJACK_ENGINE_NODES'],
      flag: 'nodes',
      initialText: '1, or those of the data folder',
      about:
        'Engine processes that are started in each replica group. New plain indexes go to the one with the fewest, spread ones to all of them. A data folder never gets fewer again.',
    }),
    indexingMemoryBytes: field(byteCount(16 * mebibyte, 2 ** 40), 256 * mebibyte, {
      env: ['FLAPJACK_ENGINE_INDEXING_MEMORY', 'MEILI_MAX_INDEXING_MEMORY'],
      flag: 'max-indexing-memory',
      initialText: '256 MiB',
      about:
        'How much memory one engine process may use for what it gathers while it indexes. The embedded engine takes changed pages of its files besides, at most 512 MiB: see [its bounds](embedded-engine.md#bounds).',
    }),
  },
  limits: {
    keySearchPerSecond: perSecond('one key', 'search'),
    keyWritePerSecond: perSecond('one key', 'write'),
    keyAdminPerSecond: perSecond('one key', 'admin'),
    projectSearchPerSecond: perSecond('one project', 'search'),
    projectWritePerSecond: perSecond('one project', 'write'),
    projectAdminPerSecond: perSecond('one project', 'admin'),
    burstSeconds: field(integer(1, 3_600), 1, {
      env: ['FLAPJACK_LIMITS_BURST_SECONDS'],
      about: "How many seconds' worth of a rate limit may come at once after a quiet time.",
    }),
    redisUrl: field(optional(secret), null, {
      env: ['FLAPJACK_LIMITS_REDIS_URL'],
      about:
        'Redis 5 or newer, or Valkey, in which gateways keep rate limits together, such as `redis://user:password@host:6379/0` (`rediss://` for TLS). While it is away each gateway allows its share.',
    }),
    shareCount: field(optional(integer(1, 1_000)), null, {
      env: ['FLAPJACK_LIMITS_SHARE_COUNT'],
      initialText: 'the gateways that live',
      about:
        'Gateway processes among which every limit is divided, each allowing its share. Gateways on one database count themselves; set it when clients are spread over some of them only.',
    }),
    projectRequestsMax: field(integer(1, 4_096), 1_024, {
      env: ['FLAPJACK_LIMITS_PROJECT_REQUESTS_MAX'],
      about:
        'Requests of one project that one gateway answers at the same time, so that a noisy project leaves room for its neighbours. More get `too_many_requests`.',
    }),
    authFailuresPerMinute: field(integer(0, 1_000_000), 20, {
      env: ['FLAPJACK_LIMITS_AUTH_FAILURES_PER_MINUTE'],
      about:
        'Failed authentications of one address before it gets `auth_throttled` for a delay that doubles with each further one. Credentials that worked before go on working, and loopback addresses are never held. `0` turns this off.',
    }),
  },
  cluster: {
    ...spreadFields,
    health: healthFields,
    scatter: scatterFields,
    hedging: hedgingFields,
    replicaSelection: replicaSelectionFields,
    queryCoalescing: queryCoalescingFields,
    sessionPinning: sessionPinningFields,
    antiEntropy: antiEntropyFields,
  },
  moves: moveFields,
  fleet: fleetFields,
  worker: {
    roles: field(list('gateway', 'worker', 'control'), ['gateway', 'worker', 'control'], {
      env: ['FLAPJACK_ROLES'],
      flag: 'role',
      initialText: 'gateway,worker,control',
      about: 'The parts that `flapjack serve` runs. Any number of processes may run each of them.',
    }),
  },
  backups: backupFields,
  operator: {
    address: field(optional(socketAddress), null, {
      env: ['FLAPJACK_OPERATOR_ADDR'],
      flag: 'operator-addr',
      about:
        'Where operators read `/metrics`, `/health` and `/ready` of this program. These ask for no key: keep it off public networks.',
    }),
    token: field(optional(secret), null, {
      env: ['FLAPJACK_OPERATOR_TOKEN'],
      about:
        "Bearer token of `/internal/…` on the operators' address. Without one nobody may use these routes. See [operating gateways](operating.md).",
    }),
    testMode: field(flagValue, false, {
      env: ['FLAPJACK_TEST_MODE'],
      about:
        'Lets `PUT /internal/routes` say by hand where an index lives, and gateways start without routes. Never in production.',
    }),
  },
  log: {
    level: field(choice('off', 'error', 'warn', 'info', 'debug', 'trace'), 'warn', {
      env: ['FLAPJACK_LOG_LEVEL', 'MEILI_LOG_LEVEL'],
      flag: 'log-level',
      about: 'Least severe level that is logged, as JSON lines on standard error. `info` logs every request.',
    }),
  },
  telemetry: telemetryFields,
  standalone: standaloneFields,
} as const
