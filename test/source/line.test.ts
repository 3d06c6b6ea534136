import assert from 'node:assert/strict'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { createServer, type AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import { Line, LineAgent } from '../../src/source/line.ts'
import { cleanup } from '../support/cleanup.ts'

/** An answer that says it has a body of 20 000 000 bytes, of which none comes. */
async function answered(t: TestContext): Promise<IncomingMessage> {
  const server = createServer((socket) => {
    socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 20000000\r\n\r\n'))
    socket.on('error', () => undefined)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const agent = new LineAgent({ keepAlive: true })
  cleanup(t, async () => {
    agent.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const request = get({ host: '127.0.0.1', port, agent })
  const [incoming] = (await once(request, 'response')) as [IncomingMessage]
  return incoming
}

test('Line.back() lets the parser of this Node.js count what went by, and nobody gets bytes for it', async (t) => {
  const incoming = await answered(t)
  const line = incoming.socket
  assert.ok(line instanceof Line)
  incoming.on('data', () => assert.fail('There is a chunk'))
  assert.notEqual(line.lend(), undefined)
  assert.equal(line.lend(), undefined)
  assert.equal(line.back(5_000_000), true)
  assert.equal(incoming.complete, false)
  assert.equal(line.back(15_000_000), true)
  assert.equal(incoming.complete, true)
  await once(incoming, 'end')
})

test('Line.back() gives zeros for what went by where the parser is not as it has been', async (t) => {
  const incoming = await answered(t)
  const line = incoming.socket
  assert.ok(line instanceof Line)
  let zeros = 0
  incoming.on('data', (chunk: Uint8Array) => {
    assert.ok(chunk.every((byte) => byte === 0))
    zeros += chunk.length
  })
  const { parser } = line as { readonly parser?: Record<number, unknown> }
  const taker = parser?.[3] as (...values: unknown[]) => unknown
  const other = function other(this: unknown, ...values: unknown[]): unknown {
    return taker.apply(this, values)
  }
  if (parser !== undefined) parser[3] = other
  assert.equal(line.back(20_000_000), false)
  assert.equal(parser?.[3], other)
  if (parser !== undefined) parser[3] = taker
  await once(incoming, 'end')
  assert.equal(zeros, 20_000_000)
})
