import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { cleanup } from './cleanup.ts'

/** As `connected()`, until the end of the test. */
export async function socketPair(t: TestContext, localAddress?: string): Promise<SocketPair> {
  const pair = await connected(localAddress)
  cleanup(t, async () => {
    pair.left.destroy()
    pair.right.destroy()
  })
  return pair
}

/** Two ends of a connection. */
export interface SocketPair {
  readonly left: Socket
  readonly right: Socket
}

/**
 * Two ends of a connection over the loopback that nobody reads. What is written to `left` is in the kernel for who has the descriptor of `right`.
 *
 * @param localAddress - of `left`; `right` has 127.0.0.1
 */
export async function connected(localAddress = '127.0.0.1'): Promise<SocketPair> {
  const server = createServer({ pauseOnConnect: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  const accepted = once(server, 'connection')
  const left = connect({ host: '127.0.0.1', port: address.port, localAddress })
  await once(left, 'connect')
  const [right] = (await accepted) as [Socket]
  server.close()
  left.on('error', () => undefined)
  right.on('error', () => undefined)
  return { left, right }
}

/** The descriptor of a socket. */
export function fdOf(socket: Socket): number {
  return (socket as unknown as { readonly _handle: { readonly fd: number } })._handle.fd
}
