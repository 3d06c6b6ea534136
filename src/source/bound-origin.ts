import { isUint8Array } from 'node:util/types'
import { PeerError } from '../errors.ts'
import type { Origin, OriginStat } from '../task/ports.ts'
import { abortable } from '../util/scope.ts'
import { describe } from '../util/settings.ts'
import { redactText, redactUrl } from './redact.ts'
import { checkedEntry, listedEntriesMax } from './listing.ts'
import {
  isPassing,
  type Source,
  type SourceEntry,
  type SourceInto,
  type SourceRequest,
} from './source.ts'
import { checkedStat } from './stat-check.ts'

type Method = 'stat' | 'read' | 'list'

/**
 * A source with URL and headers bound in. Sources are foreign code: what they return is checked, what they throw is wrapped, and cancelling does not depend
 * on their looking at the signal.
 */
export class BoundOrigin implements Origin {
  readonly #source: Source
  readonly #scheme: string
  readonly #url: URL
  readonly #headers: Readonly<Record<string, string>>

  constructor(source: Source, scheme: string, url: URL, headers: Readonly<Record<string, string>>) {
    this.#source = source
    this.#scheme = scheme
    this.#url = url
    this.#headers = headers
  }

  async stat(signal: AbortSignal): Promise<OriginStat> {
    signal.throwIfAborted()
    try {
      return checkedStat(await abortable(this.#source.stat(this.#request(signal)), signal))
    } catch (error) {
      throw this.#wrapped(error, 'stat', signal)
    }
  }

  async *read(
    { into, ...part }: Parameters<Origin['read']>[0],
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    checkPart(part)
    signal.throwIfAborted()
    const { length } = part
    if (length === 0) return
    const passed = into !== undefined && isPassing(this.#source) ? into : undefined
    const more = passed === undefined ? {} : { into: passed }
    const chunks = this.#begin({ ...this.#request(signal), ...part, ...more }, signal)
    let received = 0
    let ended = false
    try {
      for (;;) {
        const next = await this.#next(chunks, signal)
        if (next.done === true) break
        const chunk = this.#checkedChunk(next.value)
        // What went past lies in the slot, with all chunks before this one.
        received = (passed?.filled ?? received) + chunk.length
        if (length !== undefined && received > length) throw this.#wrongLength(length, received)
        if (chunk.length > 0) yield chunk
      }
      ended = true
      received = passed?.filled ?? received
    } finally {
      if (!ended) await letGo(chunks, signal)
    }
    if (length !== undefined && received < length) throw this.#wrongLength(length, received)
  }

  /** Whether the source can list directories. */
  get lists(): boolean {
    return this.#source.list !== undefined
  }

  /**
   * The entries below a directory, checked.
   *
   * @throws PeerError the ORIGIN_ codes, FOREIGN, LIMIT_REACHED; TypeError when the source cannot list
   */
  async list(signal: AbortSignal): Promise<SourceEntry[]> {
    signal.throwIfAborted()
    const entries: SourceEntry[] = []
    const answer = this.#beginList(signal)
    let ended = false
    try {
      for (;;) {
        const next = await this.#next(answer, signal, 'list')
        ended = next.done === true
        if (ended) return entries
        if (entries.length === listedEntriesMax) {
          const details = { limit: 'listedEntriesMax', value: listedEntriesMax }
          const message = `The directory has more than ${listedEntriesMax} entries`
          throw new PeerError('LIMIT_REACHED', message, details)
        }
        entries.push(checkedEntry(next.value, this.#url))
      }
    } finally {
      if (!ended) await letGo(answer, signal)
    }
  }

  #beginList(signal: AbortSignal): AsyncIterator<unknown, unknown> {
    try {
      const entries = this.#source.list?.(this.#request(signal))
      if (entries !== undefined) return entries[Symbol.asyncIterator]()
    } catch (error) {
      throw this.#wrapped(error, 'list', signal)
    }
    throw new TypeError(`The source for ${this.#scheme} cannot list`)
  }

  #request(signal: AbortSignal): SourceRequest {
    // A copy of the URL for each call: it is mutable, and a source is free to take it apart.
    return { url: new URL(this.#url.href), headers: this.#headers, signal }
  }

  #begin(request: SourceInto, signal: AbortSignal): AsyncIterator<unknown, unknown> {
    try {
      return this.#source.read(request)[Symbol.asyncIterator]()
    } catch (error) {
      throw this.#wrapped(error, 'read', signal)
    }
  }

  async #next(
    chunks: AsyncIterator<unknown, unknown>,
    signal: AbortSignal,
    method: 'read' | 'list' = 'read',
  ): Promise<IteratorResult<unknown, unknown>> {
    // Before the source is asked: a promise that nobody waits for would end the process when it fails.
    signal.throwIfAborted()
    try {
      return await abortable(chunks.next(), signal)
    } catch (error) {
      throw this.#wrapped(error, method, signal)
    }
  }

  #checkedChunk(value: unknown): Uint8Array {
    if (isUint8Array(value)) return value
    throw this.#foreign('read', `must yield Uint8Array, got ${describe(value)}`)
  }

  #wrongLength(expected: number, actual: number): PeerError {
    const details = {
      url: redactUrl(this.#url),
      expected: `${expected} bytes`,
      actual: actual > expected ? `${actual} bytes or more` : `${actual} bytes`,
    }
    const message = `The origin should have sent ${details.expected}, sent ${details.actual}`
    return new PeerError('ORIGIN_PROTOCOL', message, details)
  }

  /** What a source threw, as it goes on. Cancelling wins, whatever the source made of it. */
  #wrapped(error: unknown, method: Method, signal: AbortSignal): unknown {
    if (signal.aborted) return signal.reason
    if (PeerError.is(error)) return error
    const told = error instanceof Error ? `${error.name}: ${error.message}` : describe(error)
    return this.#foreign(method, told, error)
  }

  #foreign(method: Method, text: string, cause?: unknown): PeerError<'FOREIGN'> {
    const where = `source ${this.#scheme} ${method}`
    const reason = redactText(text, { url: this.#url, headers: this.#headers })
    return new PeerError(
      'FOREIGN',
      `The source for ${this.#scheme} failed in ${method}: ${reason}`,
      { where, reason },
      cause === undefined ? undefined : { cause },
    )
  }
}

/** Ends an iteration early, and waits for it unless cancelled: a source that hangs in a read would hang here too. */
async function letGo(chunks: AsyncIterator<unknown, unknown>, signal: AbortSignal): Promise<void> {
  const ending = async (): Promise<unknown> => chunks.return?.()
  // Why the reading ends is known already; what a source throws while it is let go of changes nothing.
  const ended = ending().catch(() => undefined)
  if (!signal.aborted) await abortable(ended, signal)
}

function checkPart(part: { readonly offset: number; readonly length?: number }): void {
  for (const [name, value] of Object.entries({ offset: part.offset, length: part.length ?? 0 })) {
    if (Number.isSafeInteger(value) && value >= 0) continue
    throw new RangeError(`${name} must be a whole number of bytes, got ${describe(value)}`)
  }
}
