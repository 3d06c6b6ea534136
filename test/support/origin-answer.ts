import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { Content } from './content.ts'
import type { OriginAnswer, OriginOptions, OriginRequest } from './origin-options.ts'
import { type ByteRange, parseRange } from './origin-range.ts'

/** All that one answer needs. */
export interface Sending {
  readonly request: OriginRequest
  readonly response: ServerResponse
  readonly content: Content
  readonly validators: Readonly<Record<string, string>>
  readonly script: OriginAnswer
  readonly options: OriginOptions
  readonly onBytes: () => void
  /** Fires when there is nobody to answer any more. */
  readonly gone: AbortSignal
}

/** How often a paced answer sends a little. */
const paceMs = 20

/** Answers one request by its script. Resolves when there is nothing more to do for it. */
export async function send(sending: Sending): Promise<void> {
  const { script, response } = sending
  if (script.is === 'stall' && script.afterBytes === undefined) return
  if (script.is === 'reset' && script.afterBytes === undefined) {
    response.socket?.resetAndDestroy()
    return
  }
  if (script.is === 'status') {
    head(sending, script.status, { 'content-length': '0', ...script.headers })
    response.end()
    return
  }
  await sendHonest(sending)
}

async function sendHonest(sending: Sending): Promise<void> {
  const { request, response, content, options, validators } = sending
  const { headers } = request
  if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(sending, 405)
  if (request.method === 'HEAD' && options.head === false) return refuse(sending, 405)
  const etag = validators['etag']
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = headers
  if (ifMatch !== undefined && ifMatch !== '*' && ifMatch !== etag) return refuse(sending, 412)
  if (etag !== undefined && ifNoneMatch === etag) return refuse(sending, 304)

  const part = wantedPart(sending)
  if (part === 'unsatisfiable') {
    return refuse(sending, 416, { 'content-range': `bytes */${content.length}` })
  }
  const { offset, length } = part ?? { offset: 0, length: content.length }
  const more: Record<string, string> = {}
  if (part !== undefined) {
    more['content-range'] = `bytes ${offset}-${offset + length - 1}/${content.length}`
  }
  if (part !== undefined || options.lengthKnown !== false) more['content-length'] = String(length)
  head(sending, part === undefined ? 200 : 206, more)
  if (request.method === 'HEAD') {
    response.end()
    return
  }
  await sendContent(sending, { offset, length })
}

/** The part to send; undefined is everything, as it is when the reader's validator is not the current one. */
function wantedPart(sending: Sending): ByteRange | 'unsatisfiable' | undefined {
  const { request, content, options, validators } = sending
  if (options.ranges === false || request.method !== 'GET') return undefined
  const ifRange = request.headers['if-range']
  if (ifRange !== undefined && !Object.values(validators).includes(String(ifRange))) {
    return undefined
  }
  return parseRange(request.headers.range, content.length)
}

function refuse(sending: Sending, status: number, headers: Record<string, string> = {}): void {
  head(sending, status, status === 304 ? headers : { 'content-length': '0', ...headers })
  sending.response.end()
}

function head(sending: Sending, status: number, more: Record<string, string>): void {
  const { request, response, options, validators, script } = sending
  request.status = status
  response.writeHead(status, {
    'content-type': 'application/octet-stream',
    ...(options.ranges === false ? {} : { 'accept-ranges': 'bytes' }),
    ...(status < 400 ? validators : {}),
    ...options.headers,
    ...more,
    ...(script.is === 'headers' ? script.headers : {}),
  })
  response.flushHeaders()
}

async function sendContent(sending: Sending, range: ByteRange): Promise<void> {
  const { request, response, content, script, options, onBytes, gone } = sending
  const cut = 'afterBytes' in script ? (script.afterBytes ?? 0) : Number.POSITIVE_INFINITY
  const length = Math.min(range.length, cut)
  const bytesPerSecond = script.is === 'slow' ? script.bytesPerSecond : options.bytesPerSecond
  const stepBytes =
    bytesPerSecond === undefined
      ? 256 * 1024
      : Math.max(1, Math.round((bytesPerSecond * paceMs) / 1000))
  let left = length
  for (const chunk of content.chunks(range.offset, length, stepBytes)) {
    const at = script.is === 'corrupt' ? script.at - range.offset - request.bytes : -1
    if (at >= 0 && at < chunk.length) chunk[at] = ~(chunk[at] ?? 0)
    request.bytes += chunk.length
    left -= chunk.length
    const full = !response.write(chunk)
    onBytes()
    // The reader knows the length: after the last byte it may ask again on this connection, so the answer has to end at once.
    if (left === 0) break
    if (full) await drained(response, gone)
    if (bytesPerSecond !== undefined) await pace(gone)
    if (gone.aborted) return
  }
  switch (script.is) {
    case 'reset':
      // The bytes written so far have to leave before the reset overtakes them.
      await flushed(response)
      response.socket?.resetAndDestroy()
      return
    case 'end':
      response.socket?.end()
      return
    case 'stall':
      return
    default:
      response.end()
  }
}

/** Resolves when there is room again, or when the reader has gone. */
async function drained(response: ServerResponse, gone: AbortSignal): Promise<void> {
  try {
    await once(response, 'drain', { signal: gone })
  } catch (error) {
    if (!gone.aborted) throw error
  }
}

async function flushed(response: ServerResponse): Promise<void> {
  await new Promise<void>((resolve) => {
    if (response.destroyed || response.socket === null) resolve()
    else response.socket.write('', () => resolve())
  })
}

/** A paced answer is a clock by its nature; it stops at once when the reader goes. */
async function pace(gone: AbortSignal): Promise<void> {
  if (gone.aborted) return
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, paceMs)
    gone.addEventListener('abort', done)
    function done(): void {
      clearTimeout(timer)
      gone.removeEventListener('abort', done)
      resolve()
    }
  })
}
