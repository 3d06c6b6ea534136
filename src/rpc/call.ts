import {
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2'

import { Code, ConnectError, createContextValues } from '@connectrpc/connect'
import type { UniversalHandler } from '@connectrpc/connect/protocol'

import { callerKey } from './caller.ts'
import { watchFirstMessage } from './first-message.ts'

/**
 * Answers one HTTP/2 stream with one of Connect's gRPC handlers. Never rejects.
 *
 * Connect's own Node adapter is not used, for three reasons that Rust clients are strict about and one of ours:
 *
 * 1. It sends response headers with the first message. A Rust client gives up when none came in 10 s, and a parent may have nothing
 *    to tell for longer. Here they leave before the handler runs, if the method streams its answer (and the server wants it so). So such a handler cannot
 *    set any.
 * 2. It applies `grpc-timeout` to the whole stream. Rust clients mean it for the headers only: SyncPieces with 10 s lives for minutes.
 * 3. It leaves a stream half open after the trailers, when the client has not ended its half. A Rust client then waits for ever at
 *    the end of AnnouncePeer. Here a reset without error follows the trailers, as from a Go server.
 * 4. It prints to the console.
 *
 * @param onAsked - called when the first message of the request is whole
 */
export async function answerCall(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  handlers: ReadonlyMap<string, UniversalHandler>,
  streamHeaders: 'early' | 'first' = 'early',
  onAsked: () => void = () => undefined,
): Promise<void> {
  const path = headers[':path'] ?? ''
  const contentType = headers['content-type'] ?? ''
  if (headers[':method'] !== 'POST') return refuseHttp(stream, 405)
  if (!/^application\/grpc(\+proto)?$/i.test(contentType)) return refuseHttp(stream, 415)
  const handler = handlers.get(path)
  if (handler === undefined) {
    return refuseCall(stream, Code.Unimplemented, `No such method: ${path.slice(0, 200)}`)
  }
  try {
    await runHandler(stream, headers, handler, contentType, { streamHeaders, onAsked })
  } catch (error) {
    // Connect turns what a handler throws into trailers. What is left came from broken headers or a stream that ended meanwhile.
    // Later: a reset from within Node's own reading uses memory that it has freed (see `resetLater`).
    if (stream.headersSent) setImmediate(() => stream.close(constants.NGHTTP2_INTERNAL_ERROR))
    else refuseCall(stream, Code.Internal, ConnectError.from(error).rawMessage)
  }
}

/** Answers with a gRPC status and nothing else. */
export function refuseCall(stream: ServerHttp2Stream, code: Code, message: string): void {
  if (isGone(stream)) return
  const status = { 'grpc-status': String(code), 'grpc-message': encodeURIComponent(message) }
  const content = { 'content-type': 'application/grpc' }
  stream.respond({ ':status': 200, ...content, ...status }, { endStream: true })
  endRequestHalf(stream)
}

function refuseHttp(stream: ServerHttp2Stream, status: number): void {
  stream.respond({ ':status': status }, { endStream: true })
  endRequestHalf(stream)
}

async function runHandler(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  handler: UniversalHandler,
  contentType: string,
  how: { readonly streamHeaders: 'early' | 'first'; readonly onAsked: () => void },
): Promise<void> {
  const gone = new AbortController()
  stream.once('close', () => {
    gone.abort(new ConnectError('The client ended the call', Code.Canceled))
  })
  const responseHeaders = { ':status': 200, 'content-type': contentType }
  const requestHeaders = webHeaders(headers)
  const streams = handler.method.methodKind !== 'unary'
  if (streams) {
    requestHeaders.delete('grpc-timeout')
    if (how.streamHeaders === 'early') stream.respond(responseHeaders, { waitForTrailers: true })
  }
  const response = await handler({
    httpVersion: '2.0',
    method: 'POST',
    url: `http://localhost${handler.requestPath}`,
    header: requestHeaders,
    // The default would destroy the stream, with its unsent answer, when the handler stops reading early.
    body: watchFirstMessage(stream.iterator({ destroyOnReturn: false }), how.onAsked),
    signal: gone.signal,
    contextValues: createContextValues().set(callerKey, stream.session?.socket.remoteAddress ?? ''),
  })
  for await (const chunk of response.body ?? []) {
    if (isGone(stream)) return
    if (!stream.headersSent) {
      const own = plainHeaders(response.header)
      stream.respond({ ...own, ...responseHeaders }, { waitForTrailers: true })
    }
    await write(stream, chunk)
  }
  if (isGone(stream)) return
  const trailers = plainHeaders(response.trailer)
  if (stream.headersSent) {
    endWith(stream, trailers)
  } else {
    // A call that failed before its first message: headers and status in one frame.
    const own = plainHeaders(response.header)
    stream.respond({ ...own, ...trailers, ...responseHeaders }, { endStream: true })
    endRequestHalf(stream)
  }
}

function endWith(stream: ServerHttp2Stream, trailers: OutgoingHttpHeaders): void {
  stream.once('wantTrailers', () => {
    stream.sendTrailers(trailers)
    endRequestHalf(stream)
  })
  stream.end()
}

/**
 * Resets the stream, without error, after what was just sent has left. Any earlier, and the reset overtakes the trailers.
 *
 * A client that has ended its half needs no reset and gets none.
 */
function endRequestHalf(stream: ServerHttp2Stream): void {
  setImmediate(() => {
    if (isGone(stream)) return
    if (stream.state.remoteClose !== 1) stream.close(constants.NGHTTP2_NO_ERROR)
    // A stream is only gone when its request is read to the end. Connect keeps its reader when a handler leaves early.
    stream.removeAllListeners('readable')
    stream.resume()
  })
}

function isGone(stream: ServerHttp2Stream): boolean {
  return stream.destroyed || stream.closed
}

/** Resolves when the stream takes more, or is gone. */
function write(stream: ServerHttp2Stream, chunk: Uint8Array): Promise<void> | undefined {
  if (stream.write(chunk)) return undefined
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off('drain', done)
      stream.off('close', done)
      resolve()
    }
    stream.on('drain', done)
    stream.on('close', done)
  })
}

function webHeaders(headers: IncomingHttpHeaders): Headers {
  const result = new Headers()
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(':') || value === undefined) continue
    for (const one of Array.isArray(value) ? value : [value]) result.append(name, one)
  }
  return result
}

function plainHeaders(headers: Headers | undefined): OutgoingHttpHeaders {
  return Object.fromEntries(headers ?? [])
}
