import { chmodSync } from 'node:fs'
import { lstat, unlink } from 'node:fs/promises'
import { connect, type Server } from 'node:net'

import { PeerError } from '../errors.ts'
import { addressText, type RpcAddress } from './address.ts'

/** Where to listen: on an address of this machine, or on a unix socket. */
export type ListenTarget =
  | {
      /** Address or name of this machine; `0.0.0.0` and `::` are all of them. */
      readonly host: string
      /** 0 takes any free one. */
      readonly port: number
      readonly path?: never
    }
  | {
      /** Absolute path. A socket that a dead process left there is replaced. */
      readonly path: string
      /** Permissions of the socket. @defaultValue 0o600 */
      readonly mode?: number
      readonly host?: never
      readonly port?: never
    }

/**
 * Starts to listen.
 *
 * Rejects with `LISTEN_FAILED` when the address is taken or cannot be had.
 */
export async function listen(server: Server, target: ListenTarget): Promise<RpcAddress> {
  const { path } = target
  if (path === undefined) {
    await started(server, { ip: target.host, port: target.port }, () => {
      server.listen({ host: target.host, port: target.port })
    })
    const address = server.address()
    if (address === null || typeof address === 'string') throw new TypeError('Not a TCP server')
    return { ip: address.address, port: address.port }
  }
  await removeStaleSocket(path)
  await started(server, { path }, () => {
    server.listen({ path })
    // In the same turn, so that no connection is accepted before. Until here the umask decides.
    if (server.listening) chmodSync(path, target.mode ?? 0o600)
  })
  return { path }
}

function started(server: Server, address: RpcAddress, start: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (cause: Error): void => {
      server.off('listening', onListening)
      reject(listenFailed(address, cause.message, cause))
    }
    const onListening = (): void => {
      server.off('error', onError)
      resolve()
    }
    server.once('error', onError)
    server.once('listening', onListening)
    start()
  })
}

/** A process that was killed leaves its socket behind, and nobody can listen there until it is gone. */
async function removeStaleSocket(path: string): Promise<void> {
  try {
    const stats = await lstat(path)
    if (!stats.isSocket()) throw listenFailed({ path }, 'A file that is no socket stands there')
    if (await answers(path)) throw listenFailed({ path }, 'Another process listens there')
    await unlink(path)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return
    if (PeerError.is(error)) throw error
    throw listenFailed({ path }, error instanceof Error ? error.message : String(error), error)
  }
}

/** False only when nobody listens; anything unclear counts as somebody. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'))
  })
}

function listenFailed(address: RpcAddress, reason: string, cause?: unknown): PeerError {
  const text = addressText(address)
  const message = `Cannot listen on ${text}: ${reason}`
  return new PeerError('LISTEN_FAILED', message, { address: text, reason }, { cause })
}
