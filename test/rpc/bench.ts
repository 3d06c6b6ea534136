import assert from 'node:assert/strict'
import http2 from 'node:http2'
import net from 'node:net'

import { type RpcServer, serveRpc } from '../../src/rpc/server.ts'
import type { RpcServerOptions } from '../../src/rpc/server-options.ts'
import { cleanup, type Ending } from '../support/cleanup.ts'
import { leaks } from '../support/leaks.ts'
import { TestServices } from './services.ts'
import { type Tap, tap } from './wire.ts'

/** A server with `TestServices`, a tap before it, and a plain HTTP/2 client behind that. */
export interface Bench {
  readonly services: TestServices
  readonly server: RpcServer
  /** Port of the server itself, past the tap. */
  readonly port: number
  readonly tap: Tap
  readonly client: http2.ClientHttp2Session
}

/** Sets it all up; at the end of the test nothing of it may be open. */
export async function bench(
  t: Ending,
  options: Pick<RpcServerOptions, 'limits' | 'onError' | 'signal'> = {},
): Promise<Bench> {
  leaks(t)
  const services = new TestServices()
  const server = await serveRpc({
    ...options,
    host: '127.0.0.1',
    port: 0,
    routes: services.routes,
  })
  cleanup(t, () => {
    server.destroy()
    return server.close()
  })
  assert.ok('port' in server.address)
  const { port } = server.address
  const wire = await tap(port)
  cleanup(t, () => wire.close())
  const client = connect(t, wire.port)
  return { services, server, port, tap: wire, client }
}

/** A plain HTTP/2 client, at that address of this machine. */
export function connect(
  t: Ending,
  port: number,
  localAddress = '127.0.0.1',
): http2.ClientHttp2Session {
  const client = http2.connect(`http://127.0.0.1:${port}`, {
    createConnection: () => net.connect({ host: '127.0.0.1', port, localAddress }),
    settings: { initialWindowSize: 1024 * 1024 },
  })
  // The calls show what happens to the connection.
  client.on('error', () => undefined)
  cleanup(t, () => client.destroy())
  return client
}
