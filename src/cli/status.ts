/** `flapjack status`: what runs in a data folder. */
import { Agent, request } from 'undici'
import type { CommandContext } from './command-context.ts'
import { CommandFailed } from './exit-codes.ts'
import { withStore } from './store-access.ts'
import { formatColumns } from './terminal.ts'

const healthMsMax = 2000

/** @param owner  the process that owns the data folder, with what it announced; `undefined` = none. */
export async function showStatus(
  { config, terminal, programs }: CommandContext,
  owner: Readonly<Record<string, unknown>> | undefined,
): Promise<void> {
  if (!owner && !config.store.databaseUrl) {
    throw new CommandFailed('notFound', `nothing runs in ${config.data.dir}; start it with \`flapjack up\``)
  }
  const url = typeof owner?.url === 'string' ? owner.url : null
  const isServing = url !== null && (await isHealthy(url))
  await withStore(programs, config, async ({ catalogue, gateways, laneJournal }) => {
    const living = await gateways.list()
    const snapshot = await catalogue.snapshot()
    const troubles = await laneJournal.troubles()
    const nodes = await Promise.all(
      snapshot.nodes.map(async ({ id, group, engine, url: nodeUrl, state }) => ({
        id,
        group,
        engine,
        url: nodeUrl,
        state,
        isHealthy: await isHealthy(nodeUrl),
        /** Why it takes no writes; null = it does. */
        trouble: troubles.get(id) ?? null,
        replicas: snapshot.placements.filter((placement) => placement.node === id).length,
      })),
    )
    const facts = {
      pid: typeof owner?.pid === 'number' ? owner.pid : null,
      url,
      isServing,
      projects: snapshot.projects.length,
      indexes: snapshot.indexes.length,
      gateways: living.map(({ address, version, startedAt }) => {
        return { address, version, startedAt: new Date(startedAt).toISOString() }
      }),
      nodes,
    }
    terminal.answer(
      facts,
      [
        `Address   ${url ?? 'none'} (${isServing ? 'serving' : 'not serving'})`,
        `Process   ${facts.pid ?? 'none'}`,
        `Projects  ${facts.projects}`,
        `Indexes   ${facts.indexes}`,
        `Gateways  ${facts.gateways.length}`,
        '',
        formatColumns([
          ['NODE', 'GROUP', 'ENGINE', 'STATE', 'HEALTH', 'REPLICAS', 'URL'],
          ...nodes.map((node) => [
            node.id,
            String(node.group),
            node.engine,
            node.state,
            node.isHealthy ? (node.trouble === null ? 'good' : 'refuses writes') : 'away',
            String(node.replicas),
            node.url,
          ]),
        ]),
        ...nodes.flatMap(({ id, trouble }) => (trouble === null ? [] : [`\n${id} takes no writes: ${trouble}`])),
      ].join('\n'),
    )
  })
}

const trusting = new Agent({ connect: { rejectUnauthorized: false } })

export async function isHealthy(url: string): Promise<boolean> {
  try {
    const { statusCode, body } = await request(`${url}/health`, {
      // On this machine it is ours, whatever names its certificate has.
      ...(/^https:\/\/(127\.|localhost|\[::1\])/.test(url) ? { dispatcher: trusting } : {}),
      headersTimeout: healthMsMax,
      bodyTimeout: healthMsMax,
    })
    await body.dump()
    return statusCode === 200
  } catch {
    return false
  }
}
