import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { cleanup, type Ending } from '../support/cleanup.ts'

/** An HTTP server that answers as a test says, down to the body of an error. */
export interface Site {
  /** `http://127.0.0.1:port`. */
  readonly origin: string
  /** All requests, in order. */
  readonly requests: IncomingMessage[]
}

/** Starts one; it is gone when the test ends. */
export async function site(t: Ending, answer: RequestListener): Promise<Site> {
  const requests: IncomingMessage[] = []
  const server = createServer((request, response) => {
    requests.push(request)
    answer(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanup(t, () => {
    server.close()
    server.closeAllConnections()
  })
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests }
}

/** Bytes that a `Range` field asks for; everything without one. */
export function wantedOf(request: IncomingMessage, length: number): { start: number; end: number } {
  const match = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '')
  if (match === null) return { start: 0, end: length }
  const [, first, last] = match
  return { start: Number(first), end: last === '' ? length : Math.min(length, Number(last) + 1) }
}
