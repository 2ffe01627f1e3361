/** A model behind an OpenAI-compatible API, which searches once before it answers `It is a dog.` */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { JsonObject } from '../../src/lib/json.ts'

export interface AskedModel {
  readonly messages: readonly { readonly role: string; readonly content?: string }[]
  readonly tools: readonly JsonObject[]
}

export interface StubProvider {
  readonly baseUrl: string
  /** Every request so far. */
  readonly asked: readonly AskedModel[]
  close(): Promise<void>
}

/** @param search  arguments of the search that the model asks for. */
export async function startStubProvider(search: () => JsonObject): Promise<StubProvider> {
  const asked: AskedModel[] = []
  const provider = createServer((request, response) => {
    let body = ''
    request.on('data', (piece: Buffer) => {
      body += piece.toString('utf8')
    })
    request.on('end', () => {
      const sent = JSON.parse(body) as AskedModel
      asked.push(sent)
      const send = (delta: JsonObject, finish_reason: string | null = null) =>
        response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason }] })}\n\n`)
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      if (sent.messages.some(({ role }) => role === 'tool')) {
        send({ content: 'It is a dog.' })
        send({}, 'stop')
      } else {
        const call = (name: string | null, text: string) => ({
          tool_calls: [{ index: 0, id: 'call', function: { ...(name === null ? {} : { name }), arguments: text } }],
        })
        const text = JSON.stringify(search())
        send(call('_meiliSearchInIndex', text.slice(0, 15)))
        send(call(null, text.slice(15)))
        send({}, 'tool_calls')
      }
      response.end('data: [DONE]\n\n')
    })
  })
  await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve))
  return {
    baseUrl: `http://127.0.0.1:${(provider.address() as AddressInfo).port}/v1`,
    asked,
    async close() {
      provider.closeAllConnections()
      await new Promise((resolve) => provider.close(resolve))
    },
  }
}
