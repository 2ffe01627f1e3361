/** Objects of a folder with addresses of their own, over HTTP, where no S3 server can be had. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { openFolderObjects } from '../../src/store/objects/folder-objects.ts'
import type { ObjectStore } from '../../src/store/objects/object-store.ts'

export async function serveObjects(folder: string): Promise<ObjectStore> {
  const objects = openFolderObjects(folder)
  const server = createServer((request, response) => {
    const name = (request.url ?? '').slice(1)
    const answer = async () => {
      if (request.method === 'PUT') {
        await objects.put(name, request)
        return response.end()
      }
      for await (const piece of objects.get(name)) response.write(piece)
      return response.end()
    }
    answer().catch(() => response.writeHead(404).end())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    ...objects,
    presign: async (name) => `http://127.0.0.1:${port}/${name}`,
    close() {
      server.closeAllConnections()
      server.close()
      objects.close()
    },
  }
}
