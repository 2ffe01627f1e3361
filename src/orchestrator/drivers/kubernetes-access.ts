/** Where a cluster's API is and how one speaks to it: a kubeconfig file, or the account of the pod that we run in. */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { Agent, type Dispatcher } from 'undici'
import { parse } from 'yaml'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import { DriverFailed } from './node-driver.ts'
import { listAt, objectAt, textAt } from './provider-call.ts'

export interface KubernetesAccess {
  /** Without a slash at its end. */
  readonly server: string
  readonly dispatcher: Dispatcher
  /** Read each time: tokens of pods are renewed. */
  readonly token: () => string | null
  readonly namespace: string | null
}

const accountFolder = '/var/run/secrets/kubernetes.io/serviceaccount'

/** @throws DriverFailed which says what is missing. */
export function openAccess(
  kubeconfig: string | null,
  env: Readonly<Record<string, string | undefined>>,
): KubernetesAccess {
  return kubeconfig === null ? podAccess(env) : fileAccess(kubeconfig)
}

function podAccess(env: Readonly<Record<string, string | undefined>>): KubernetesAccess {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = env
  if (host === undefined) {
    throw new DriverFailed('we do not run in a cluster: name one with `fleet.kubernetes.kubeconfig`')
  }
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    dispatcher: new Agent({ connect: { ca: readText(`${accountFolder}/ca.crt`) } }),
    token: () => readText(`${accountFolder}/token`).trim(),
    namespace: readText(`${accountFolder}/namespace`).trim(),
  }
}

function fileAccess(path: string): KubernetesAccess {
  let file: Json
  try {
    file = parse(readText(path)) as Json
  } catch (error) {
    if (error instanceof DriverFailed) throw error
    throw new DriverFailed(`${path} is no kubeconfig: ${error instanceof Error ? error.message : error}`)
  }
  if (!isObject(file)) throw new DriverFailed(`${path} is no kubeconfig`)
  const current = textAt(file, 'current-context')
  const named = (list: string, name: string | null, key: string): JsonObject => {
    const found = listAt(file, list).find((entry) => entry.name === name)
    if (found === undefined) throw new DriverFailed(`${path} has no ${key} \`${name ?? ''}\``)
    return objectAt(found, key)
  }
  const context = named('contexts', current, 'context')
  const cluster = named('clusters', textAt(context, 'cluster'), 'cluster')
  const user = named('users', textAt(context, 'user'), 'user')
  if (user.exec !== undefined || user['auth-provider'] !== undefined) {
    throw new DriverFailed(
      `the user of ${path} gets its token from a program; use one with a token or a certificate, such as a service account's`,
    )
  }
  const server = textAt(cluster, 'server')
  if (server === null) throw new DriverFailed(`the cluster of ${path} has no \`server\``)
  const content = (holder: JsonObject, name: string): string | undefined => {
    const data = textAt(holder, `${name}-data`)
    if (data !== null) return Buffer.from(data, 'base64').toString('utf8')
    const file = textAt(holder, name)
    return file === null ? undefined : readText(resolve(dirname(path), file))
  }
  const [ca, cert, key] = [
    content(cluster, 'certificate-authority'),
    content(user, 'client-certificate'),
    content(user, 'client-key'),
  ]
  const tokenFile = textAt(user, 'tokenFile')
  return {
    server: server.replace(/\/+$/, ''),
    dispatcher: new Agent({
      connect: { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) },
    }),
    token: () => (tokenFile === null ? textAt(user, 'token') : readText(resolve(dirname(path), tokenFile)).trim()),
    namespace: textAt(context, 'namespace'),
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new DriverFailed(`${path} cannot be read: ${error instanceof Error ? error.message : error}`)
  }
}
