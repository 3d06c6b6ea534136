import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { loadHttpClient } from '../../src/source/http-client.ts'

const ways: readonly (readonly [string, ReturnType<typeof loadHttpClient>])[] = [
  ['by its parts', loadHttpClient()],
  ['as a whole', loadHttpClient(() => Promise.reject(new Error('The files are elsewhere')))],
]

for (const [how, loading] of ways) {
  test(`loadHttpClient() gives a client that asks, ${how}`, async () => {
    const server = createServer((_request, response) => response.end('content')).listen(0)
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const { Agent, buildConnector, request } = await loading
    const agent = new Agent({ connect: buildConnector({ timeout: 1000 }), connections: 1 })
    const origin = `http://127.0.0.1:${port}`
    const { statusCode, body } = await request(agent, { origin, path: '/', method: 'GET' })
    assert.equal(statusCode, 200)
    assert.equal(await body.text(), 'content')
    await agent.destroy()
    server.close()
    await once(server, 'close')
  })
}

test('The library loads no HTTP client before an origin is asked', async () => {
  const path = (name: string): string =>
    fileURLToPath(new URL(`../../src/${name}`, import.meta.url))
  const script = `
    import { createRequire } from 'node:module'
    const loaded = () => Object.keys(createRequire(import.meta.url).cache).filter((file) => file.includes('undici')).length
    await import(${JSON.stringify(path('index.js'))})
    const before = loaded()
    const { loadHttpClient } = await import(${JSON.stringify(path('source/http-client.js'))})
    await loadHttpClient()
    console.log(JSON.stringify([before, loaded() > 0, loaded() < 60]))`
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--input-type=module',
    '-e',
    script,
  ])
  assert.deepEqual(JSON.parse(stdout), [0, true, true])
})
