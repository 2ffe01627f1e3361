/** A gateway with the index `books` over the nodes of its arguments, and plain indexes `p0` … on each of them. */
import { startSpreadGateway } from '../test/support/spread-gateway.ts'

/** `plan`: each URL with the shards and the group of its node, then settings of the environment. */
const { nodes, env } = JSON.parse(process.argv[2] ?? '') as {
  readonly nodes: readonly { readonly url: string; readonly shards: readonly number[]; readonly group?: number }[]
  readonly env: Readonly<Record<string, string>>
}
const named = nodes.map((node, at) => ({ ...node, id: `n${at}` }))
const { gateway } = await startSpreadGateway({
  nodes: named,
  plain: Object.fromEntries(named.map(({ id }, at) => [`p${at}`, id])),
  env,
})
console.log(gateway.url)
const end = () => void gateway.close(0).then(() => process.exit(0))
process.once('SIGTERM', end)
