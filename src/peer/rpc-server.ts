import type { RpcServer } from '../rpc/server.ts'
import type { RpcServerTls } from '../rpc/server-options.ts'
import type { Settings } from './settings.ts'

/** The TLS of a server that the network reaches, for `serveRpc`; nothing for clear text. */
export function serverTls({ tls }: Settings): { readonly tls?: RpcServerTls } {
  return tls === undefined ? {} : { tls: tls.credentials.server }
}

/** Port that a server on TCP got. */
export function portOf(server: RpcServer): number {
  const { address } = server
  if ('port' in address) return address.port
  throw new TypeError('The server listens on a path')
}

/** Ends a server: at once when there is no time, else after the calls under way. */
export async function closeServer(server: RpcServer, timeoutMs: number): Promise<void> {
  if (timeoutMs === 0) server.destroy()
  await server.close()
}
