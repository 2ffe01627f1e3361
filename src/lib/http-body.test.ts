import assert from 'node:assert/strict'
import { Agent, createServer, request as httpRequest, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { BodyRefused, readBody, sizeText } from './http-body.ts'

const bytesMax = 10_000
const agent = new Agent({ keepAlive: true, maxSockets: 1 })
let port = 0

/** Answers what it read, or the fault. */
const server = createServer((request, response) => {
  readBody(request, bytesMax).then(
    (body) => response.end(body),
    (error: unknown) => response.end(error instanceof BodyRefused ? `refused ${error.fault}` : 'failed'),
  )
})

before(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
})
after(() => {
  agent.destroy()
  server.close()
})

function send(body: Uint8Array, headers: Record<string, string> = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest({ port, host: '127.0.0.1', method: 'POST', agent, headers }, (answer: IncomingMessage) => {
      let text = ''
      answer.on('data', (chunk: Buffer) => {
        text += chunk.toString()
      })
      answer.on('end', () => resolve(text))
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

const text = 'some text '.repeat(50)

test('bodies are decoded', async () => {
  assert.equal(await send(Buffer.from(text)), text)
  assert.equal(await send(gzipSync(text), { 'content-encoding': 'gzip' }), text)
  assert.equal(await send(deflateSync(text), { 'content-encoding': 'deflate' }), text)
  assert.equal(await send(brotliCompressSync(text), { 'content-encoding': 'br' }), text)
})

test('refused bodies leave the next request of the connection alone', async () => {
  const faults: readonly (readonly [Uint8Array, Record<string, string>, string])[] = [
    [Buffer.alloc(bytesMax + 1), {}, 'refused too-large'],
    [Buffer.alloc(500_000), { 'transfer-encoding': 'chunked' }, 'refused too-large'],
    [gzipSync(Buffer.alloc(20_000_000)), { 'content-encoding': 'gzip' }, 'refused too-large'],
    [Buffer.from('no gzip'), { 'content-encoding': 'gzip' }, 'refused undecodable'],
    [gzipSync(text).subarray(0, 20), { 'content-encoding': 'gzip' }, 'refused undecodable'],
    [Buffer.from(text), { 'content-encoding': 'zstd' }, 'refused unsupported-encoding'],
  ]
  for (const [body, headers, answer] of faults) {
    assert.equal(await send(body, headers), answer)
    assert.equal(await send(Buffer.from('next')), 'next')
  }
})

test('sizes are told in a binary unit when they are one', () => {
  assert.equal(sizeText(100_000_000), '100 MB')
  assert.equal(sizeText(104_857_600), '100 MiB')
  assert.equal(sizeText(1024), '1 KiB')
  assert.equal(sizeText(1_500_000), '1.50 MB')
})
