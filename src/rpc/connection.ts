import { constants, type Http2Session } from 'node:http2'
import type { Socket } from 'node:net'

import { Code, ConnectError } from '@connectrpc/connect'

/** Bytes that the other side may send on one call before we have read them. The Rust client uses the same. */
export const streamWindowBytes: number = 512 * 1024

/** Bytes that the other side may send on one connection before we have read them. The Rust client uses the same. */
export const connectionWindowBytes: number = 4 * 1024 * 1024

/** Largest frame that we take. The Rust client uses the same. */
export const frameBytesMax: number = 256 * 1024

/** An HTTP/2 session and the socket below it, which only its owner may touch. */
export interface Connection {
  readonly session: Http2Session
  readonly socket: Socket
}

/**
 * Ends a connection, with all its calls, as soon as Node reads nothing from it: it resets the calls, which must not happen from within its own reading (see
 * `resetLater`).
 *
 * Destroying the session is not enough: one that was closed gracefully before only half-closes its socket then, and waits
 * for the other side without limit.
 */
export function destroyConnection({ session, socket }: Connection, error?: Error): void {
  setImmediate(() => {
    if (!session.destroyed) session.destroy(error, constants.NGHTTP2_CANCEL)
    socket.destroy()
  })
}

/**
 * Resolves when the other side gives a sign of life: it acknowledges settings that change nothing, which every side does at once. A PING is answered just as well, but Go
 * servers end a connection at the fourth within five minutes. Rejects with `Unavailable` when the connection ends before. Without an answer in time it is destroyed: packets
 * may go nowhere, and whoever calls next shall have a new one. One at a time: at the eleventh without an answer Node ends the connection.
 */
export function signOfLife(connection: Connection, timeoutMs: number): Promise<void> {
  const { session } = connection
  return new Promise((resolve, reject) => {
    const inTime = giveUpLater(connection, `No sign of life in ${timeoutMs} ms`, timeoutMs)
    const lost = (): void => {
      inTime()
      reject(new ConnectError('Connection is lost', Code.Unavailable))
    }
    // settings() throws on a destroyed session, whose 'close' may still be on its way.
    if (session.destroyed) return lost()
    session.once('close', lost)
    session.settings({}, (error) => {
      session.off('close', lost)
      if (error !== null) return lost()
      inTime()
      resolve()
    })
  })
}

/** Destroys a connection unless the returned function is called in time. When this process itself stood still, an answer that is there already is read first. */
function giveUpLater(connection: Connection, text: string, timeoutMs: number): () => void {
  let turn: NodeJS.Immediate | undefined
  const timer = setTimeout(() => {
    turn = setImmediate(() => {
      destroyConnection(connection, new ConnectError(text, Code.Unavailable))
    })
  }, timeoutMs).unref()
  return () => {
    clearTimeout(timer)
    clearImmediate(turn)
  }
}

/**
 * Pings a connection and destroys it when no answer comes, so that a machine that vanished is noticed.
 *
 * The timers keep no process alive and end with the session.
 */
export function keepAlive(connection: Connection, intervalMs: number, timeoutMs: number): void {
  const { session } = connection
  let inTime: (() => void) | undefined
  const beat = setInterval(() => {
    // ping() throws on a destroyed session, whose 'close' may still be on its way.
    if (session.destroyed || inTime !== undefined) return
    inTime = giveUpLater(connection, `No answer to a ping in ${timeoutMs} ms`, timeoutMs)
    session.ping(() => {
      inTime?.()
      inTime = undefined
    })
  }, intervalMs).unref()
  session.once('close', () => {
    clearInterval(beat)
    inTime?.()
  })
}
