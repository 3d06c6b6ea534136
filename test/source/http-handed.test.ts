import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { Connections } from '../../src/source/connections.ts'
import { cleanup } from '../support/cleanup.ts'

test('Connections.get() over a connection that another request hands on waits for the fields, not to be connected', async (t) => {
  const connectTimeoutMs = 300
  const server = createServer((request, response) => {
    // Longer than a connection may take to be made, and not as long as fields may.
    if (request.url === '/slow') setTimeout(() => response.end('late'), 2 * connectTimeoutMs)
    else response.setHeader('keep-alive', 'timeout=0').end('soon')
  })
  server.keepAliveTimeout = 0
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  const connections = new Connections({
    keepAliveMs: 4000,
    connectionsPerOrigin: 2,
    tls: undefined,
    connectTimeoutMs,
    headersTimeoutMs: 10_000,
    idleTimeoutMs: 10_000,
    native: true,
    release: undefined,
  })
  cleanup(t, async () => {
    await connections.close()
    server.closeAllConnections()
    server.close()
  })
  const { signal } = new AbortController()
  const read = async (path: string): Promise<number> => {
    const url = new URL(`http://127.0.0.1:${address.port}${path}`)
    const { statusCode, body } = await connections.get(url, {}, signal)
    for await (const chunk of body) assert.ok(chunk.length > 0)
    return statusCode
  }
  for (let round = 0; round < 3; round++) {
    const paths = ['/soon', '/soon', '/slow', '/slow']
    assert.deepEqual(await Promise.all(paths.map(read)), [200, 200, 200, 200])
  }
})
