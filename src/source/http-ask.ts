import { Buffer } from 'node:buffer'
import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { deferred } from '../util/deferred.ts'
import { type BodySettings, HttpBody } from './http-body.ts'
import { type FaultCode, HttpFault, connectionFault, isReset, isUnparsable } from './http-fault.ts'
import type { ResponseHeaders } from './http-headers.ts'

/** What an exchange keeps to. */
export interface AskSettings extends BodySettings {
  readonly connectTimeoutMs: number
  readonly headersTimeoutMs: number
}

/** An answer whose body has not been read yet. */
export interface Response {
  readonly statusCode: number
  readonly headers: ResponseHeaders
  /** To be read to its end, left, or dropped. */
  readonly body: HttpBody
}

/**
 * Sends a request that has no body, and waits for the fields of the answer. The signal holds until the request is closed, so it ends the body too.
 *
 * @throws `signal.reason`; HttpFault, STALE_CONNECTION when asking again helps, STRAY_BYTES when it does over a new connection; the errors of Node
 */
export async function ask(
  request: ClientRequest,
  settings: AskSettings,
  signal: AbortSignal,
): Promise<Response> {
  const answer = deferred<Response>()
  let body: HttpBody | undefined
  let timer: NodeJS.Timeout | undefined
  let closed = false
  const fail = (error: unknown): void => {
    clearTimeout(timer)
    answer.reject(error)
    body?.destroy(error)
    // Not before it has its connection, or Node would go on making it; and not when another one may have it.
    process.nextTick(() => {
      if (!closed) request.destroy()
    })
  }
  const allow = (timeoutMs: number, code: FaultCode): void => {
    clearTimeout(timer)
    timer = setTimeout(() => fail(new HttpFault(code)), timeoutMs).unref()
  }
  const onAbort = (): void => fail(signal.reason)
  const onConnected = (): void => allow(settings.headersTimeoutMs, 'HEADERS_TIMEOUT')

  allow(settings.connectTimeoutMs, 'CONNECT_TIMEOUT')
  signal.addEventListener('abort', onAbort, { once: true })
  request.once('socket', (socket) => {
    socket.off('data', onUnasked)
    // One that was handed on by another request that waited is not called reused.
    const connected =
      !socket.connecting && !('secureConnecting' in socket && socket.secureConnecting)
    if (request.reusedSocket || connected) onConnected()
    else socket.once(request.protocol === 'https:' ? 'secureConnect' : 'connect', onConnected)
  })
  request.once('response', (incoming) => {
    clearTimeout(timer)
    body = new HttpBody(request, incoming, settings)
    answer.resolve({ statusCode: incoming.statusCode ?? 0, headers: headersOf(incoming), body })
  })
  request.on('error', (error) => {
    if (body !== undefined) return // it listens by itself, and knows whether it was complete
    if (request.reusedSocket && isReset(error)) fail(new HttpFault('STALE_CONNECTION', error))
    // What is no answer may be the end of the one before, which was longer than it said.
    else if (request.reusedSocket && isUnparsable(error)) fail(new HttpFault('STRAY_BYTES', error))
    else fail(connectionFault(error))
  })
  request.once('close', () => {
    closed = true
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
    if (body === undefined) answer.reject(new HttpFault('CONNECTION_CLOSED'))
    const { socket } = request
    if (socket !== null && !socket.destroyed) socket.on('data', onUnasked)
  })
  request.end()
  if (signal.aborted) onAbort()
  return answer.promise
}

/** Bytes on a connection that nobody asked anything of: they would be lost, or taken for the next answer. */
function onUnasked(this: Socket): void {
  this.destroy()
}

/** Each field with all its values. Node decodes them as Latin-1, and some origins send UTF-8. */
function headersOf(incoming: IncomingMessage): ResponseHeaders {
  const fields = Object.entries(incoming.headersDistinct).map(([name, values = []]) => {
    const texts = values.map(decoded)
    return [name, texts.length === 1 ? texts[0] : texts] as const
  })
  return Object.fromEntries(fields)
}

function decoded(value: string): string {
  return /[\x80-\xff]/.test(value) ? Buffer.from(value, 'latin1').toString() : value
}
