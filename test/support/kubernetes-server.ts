/**
 * A stand-in of a Kubernetes API server over HTTPS: objects by path, server-side apply, merge patches, label selectors,
 * bearer tokens. Sets are ready as soon as they want to be, and leave their claims behind as real ones do.
 */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { join } from 'node:path'
import { isObject, type Json, type JsonObject } from '../../src/lib/json.ts'

export interface KubernetesServer {
  /** A kubeconfig of an account that may do everything. */
  readonly kubeconfig: JsonObject
  /** Paths of what is there. */
  paths(): readonly string[]
  object(path: string): JsonObject | undefined
  /** The next request that changes something is carried out, and its connection breaks. */
  breakNext(): void
  /** Requests are answered with this status until it is taken back. */
  refuse(status: number | null): void
  close(): Promise<void>
}

const token = 'token-of-the-stand-in'
const certificates = join(import.meta.dirname, 'certificates')

export async function startKubernetes(): Promise<KubernetesServer> {
  const objects = new Map<string, JsonObject>()
  let mustBreak = false
  let refusal: number | null = null
  const cert = readFileSync(join(certificates, 'one.cert.pem'), 'utf8')
  const key = readFileSync(join(certificates, 'one.key.pem'), 'utf8')
  const server = createServer({ cert, key }, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const url = new URL(request.url ?? '/', 'https://here')
      const text = Buffer.concat(chunks).toString('utf8')
      const sent = text === '' ? {} : (JSON.parse(text) as Json)
      const isAllowed = request.headers.authorization === `Bearer ${token}`
      const { status, body } = !isAllowed
        ? failure(401, 'Unauthorized')
        : refusal !== null
          ? failure(refusal, 'Forbidden')
          : act(request.method ?? 'GET', url, isObject(sent) ? sent : {}, request.headers['content-type'] ?? '')
      if (mustBreak && request.method !== 'GET') {
        mustBreak = false
        request.socket.destroy()
        return
      }
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
  })

  function act(method: string, url: URL, sent: JsonObject, type: string): { status: number; body: JsonObject } {
    const { pathname: path } = url
    const known = objects.get(path)
    const isCollection = path.split('/').length === (path.startsWith('/apis/') ? 7 : 6)
    switch (method) {
      case 'GET': {
        if (!isCollection) return known === undefined ? failure(404, 'NotFound') : { status: 200, body: known }
        const wanted = (url.searchParams.get('labelSelector') ?? '').split(',').filter((part) => part !== '')
        const items = [...objects].flatMap(([at, object]) => {
          const labels = at_(at_(object, 'metadata'), 'labels')
          const fits = wanted.every(
            (part) => labels[part.slice(0, part.indexOf('='))] === part.slice(part.indexOf('=') + 1),
          )
          return at.startsWith(`${path}/`) && fits ? [object] : []
        })
        return { status: 200, body: { kind: 'List', items } }
      }
      case 'PATCH': {
        const isApply = type === 'application/apply-patch+yaml'
        if (isApply && url.searchParams.get('fieldManager') === null) return failure(400, 'BadRequest')
        if (!isApply && known === undefined) return failure(404, 'NotFound')
        put(path, isApply ? sent : merged(known ?? {}, sent))
        return { status: known === undefined ? 201 : 200, body: objects.get(path) ?? {} }
      }
      case 'DELETE':
        if (known === undefined) return failure(404, 'NotFound')
        objects.delete(path)
        if (path.includes('/statefulsets/')) for (const pod of podsOf(path)) objects.delete(pod)
        // A controller makes the pod of a set again.
        if (path.includes('/pods/')) objects.set(path, { ...known, restarted: true })
        return { status: 200, body: { kind: 'Status', status: 'Success' } }
      default:
        return failure(405, 'MethodNotAllowed')
    }
  }

  function put(path: string, object: JsonObject): void {
    const spec = at_(object, 'spec')
    const isSet = path.includes('/statefulsets/')
    objects.set(path, isSet ? { ...object, status: { readyReplicas: spec.replicas ?? 1 } } : object)
    if (!isSet) return
    for (const pod of podsOf(path)) {
      if (spec.replicas === 0) objects.delete(pod)
      else objects.set(pod, objects.get(pod) ?? { kind: 'Pod', metadata: { labels: {} } })
    }
    objects.set(claimOf(path), { kind: 'PersistentVolumeClaim', metadata: { labels: {} } })
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the stand-in has no port')
  return {
    kubeconfig: {
      'current-context': 'here',
      contexts: [{ name: 'here', context: { cluster: 'c', user: 'u', namespace: 'search' } }],
      clusters: [
        {
          name: 'c',
          cluster: {
            server: `https://localhost:${address.port}`,
            'certificate-authority-data': Buffer.from(cert).toString('base64'),
          },
        },
      ],
      users: [{ name: 'u', user: { token } }],
    },
    paths: () => [...objects.keys()].sort(),
    object: (path) => objects.get(path),
    breakNext() {
      mustBreak = true
    },
    refuse(status) {
      refusal = status
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const nameOf = (path: string) => path.slice(path.lastIndexOf('/') + 1)
const spaceOf = (path: string) => /\/namespaces\/([^/]+)/.exec(path)?.[1] ?? ''
const podsOf = (set: string) => [`/api/v1/namespaces/${spaceOf(set)}/pods/${nameOf(set)}-0`]
const claimOf = (set: string) => `/api/v1/namespaces/${spaceOf(set)}/persistentvolumeclaims/data-${nameOf(set)}-0`

function at_(value: JsonObject, key: string): JsonObject {
  const found = value[key]
  return isObject(found) ? found : {}
}

/** RFC 7386. */
function merged(before: JsonObject, patch: JsonObject): JsonObject {
  const entries = Object.entries(patch).map(([key, value]): [string, Json] => {
    return [key, isObject(value) ? merged(at_(before, key), value) : (value ?? null)]
  })
  return { ...before, ...Object.fromEntries(entries) }
}

function failure(status: number, reason: string): { status: number; body: JsonObject } {
  return {
    status,
    body: { kind: 'Status', status: 'Failure', reason, message: `the stand-in says ${reason}`, code: status },
  }
}
