import assert from 'node:assert/strict'
import { type ErrorCode, PeerError } from '../../src/errors.ts'
import type { Origin } from '../../src/task/ports.ts'

/** What a part of the content is, for `read`. */
export type PartOf = Parameters<Origin['read']>[0]

/** Reads a part to its end. Every chunk is copied, as the contract demands of a consumer. */
export async function readAll(
  origin: Origin,
  part: PartOf = { offset: 0 },
  signal: AbortSignal = new AbortController().signal,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of origin.read(part, signal)) chunks.push(Buffer.from(chunk))
  return new Uint8Array(Buffer.concat(chunks))
}

/** Takes one chunk and leaves, as `break` in a loop does. */
export async function firstChunk(origin: Origin): Promise<Uint8Array> {
  const chunks = origin.read({ offset: 0 }, new AbortController().signal)[Symbol.asyncIterator]()
  const first = await chunks.next()
  await chunks.return?.()
  return first.done === true ? assert.fail('There was no chunk') : first.value.slice()
}

/** The error that a promise rejects with, which must be a `PeerError` of this code. */
export async function rejection<C extends ErrorCode>(
  promise: Promise<unknown>,
  code: C,
): Promise<PeerError<C>> {
  const thrown: unknown = await promise.then(
    () => assert.fail(`It should have failed with ${code}`),
    (error: unknown) => error,
  )
  assert.ok(PeerError.is(thrown, code), `Not ${code}: ${String(thrown)}`)
  return thrown
}

/** Bytes that differ at each place, within a period that no buffer size divides. */
export function patterned(length: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; at++)
    bytes[at] = (at * 31 + (at >> 8) * 7 + (at >> 16) + seed) & 255
  return bytes
}
