import type { Response } from './http-ask.ts'
import { type Exchanger, exchange } from './http-exchange.ts'
import { type Attempt, failureOf, final, protocolError, unreachable } from './http-failure.ts'
import {
  answerVersion,
  contentLengthOf,
  contentRangeOf,
  unsatisfiedTotalOf,
} from './http-headers.ts'
import { rangeText } from './http-stat.ts'
import { redactUrl } from './redact.ts'
import type { Failure, Retries } from './retries.ts'
import type { Slot } from '../task/ports.ts'
import type { SourceInto } from './source.ts'
import {
  type Version,
  changedError,
  difference,
  isStrong,
  provenSame,
  validatorOf,
  versionOf,
} from './version.ts'

/** An answer that begins where the reading stands, or before. */
interface Part {
  readonly response: Response
  /** Bytes at its start that were delivered already. */
  readonly skip: number
  /** Bytes to deliver from it; undefined when only its end tells. */
  readonly take: number | undefined
}

/** What came out of a body: a chunk, its end, or a fault. */
type Pulled =
  | { readonly is: 'chunk'; readonly chunk: Uint8Array }
  /** So many bytes went into the slot of the request. */
  | { readonly is: 'passed'; readonly count: number }
  | { readonly is: 'end' }
  | { readonly is: 'broken'; readonly failure: Failure }

/**
 * One read, over as many requests as it takes. Every answer is compared with the validator that the caller holds and with the first answer: what is delivered is
 * contiguous and of one version, as far as the origin's fields can tell.
 */
export class HttpReading {
  readonly #by: Exchanger
  readonly #retries: Retries
  readonly #request: SourceInto
  /** First byte that is not wanted; undefined: to the end. */
  readonly #end: number | undefined
  /** What the caller's validator stands for. */
  readonly #wanted: Version | undefined
  /** Next byte to deliver. */
  #position: number
  /** Where bytes may go past us. */
  #into: Slot | undefined
  /** Of the first answer. */
  #first: Version | undefined

  constructor(by: Exchanger, retries: Retries, request: SourceInto) {
    const { offset, length, validator } = request
    this.#by = by
    this.#retries = retries
    this.#request = request
    this.#end = length === undefined ? undefined : offset + length
    this.#wanted = validator === undefined ? undefined : versionOf(validator)
    this.#position = offset
    this.#into = request.into
  }

  /** The content, as it is asked for. */
  async *chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    while (this.#end === undefined || this.#position < this.#end) {
      const part = await this.#open()
      if (part === undefined) return
      const failure = yield* this.#deliver(part)
      if (failure === undefined) return
      await this.#retries.again(failure)
    }
  }

  /** Asks until there is an answer; undefined when there is nothing after the position. */
  async #open(): Promise<Part | undefined> {
    for (;;) {
      this.#retries.begin()
      const outcome = await exchange(this.#by, this.#ask(), this.#attempt())
      if (outcome.is === 'failed') {
        await this.#retries.again(outcome.failure)
        continue
      }
      try {
        const part = this.#judge(outcome.response)
        if (part === undefined || part.take === 0) outcome.response.body.drop()
        return part?.take === 0 ? undefined : part
      } catch (error) {
        outcome.response.body.drop()
        throw error
      }
    }
  }

  #ask(): Parameters<typeof exchange>[1] {
    const everything = this.#position === 0 && this.#end === undefined
    const tag = this.#wanted?.etag ?? this.#first?.etag
    const length = this.#end === undefined ? undefined : this.#end - this.#position
    return {
      request: this.#request,
      range: everything ? undefined : `bytes=${this.#rangeText()}`,
      match: tag !== undefined && isStrong(tag) ? tag : undefined,
      offset: this.#position,
      length,
    }
  }

  /** A part for an answer that can be used. @throws PeerError ORIGIN_CHANGED, ORIGIN_PROTOCOL, ORIGIN_UNREACHABLE */
  #judge(response: Response): Part | undefined {
    switch (response.statusCode) {
      case 206:
        return this.#judgePart(response)
      case 200:
        return this.#judgeWhole(response)
      case 412:
        throw this.#preconditionFailed(response)
      default:
        return this.#judgeUnsatisfied(response)
    }
  }

  #judgePart(response: Response): Part {
    const { headers } = response
    const part = contentRangeOf(headers)
    const fault = (): Error =>
      protocolError(this.#url, `bytes ${this.#rangeText()}`, rangeText(headers))
    if (part === undefined || this.#ask().range === undefined) throw fault()
    this.#compare(answerVersion(headers, part.total))
    const end = this.#end ?? part.total
    if (part.first !== this.#position || (end !== undefined && part.last !== end - 1)) throw fault()
    const take = part.last - part.first + 1
    const announced = contentLengthOf(headers)
    if (announced !== undefined && announced !== take) {
      throw protocolError(this.#url, `${take} bytes`, `content-length ${announced}`)
    }
    return { response, skip: 0, take }
  }

  /** All of the content, though a part may have been asked for: of use only for a read from the start, and again only if it is certainly the same. */
  #judgeWhole(response: Response): Part {
    const length = contentLengthOf(response.headers)
    const version = answerVersion(response.headers, length)
    this.#compare(version)
    if (this.#request.offset > 0) {
      throw protocolError(this.#url, `status 206 with bytes ${this.#rangeText()}`, 'status 200')
    }
    if (this.#position > 0 && !provenSame(this.#first ?? {}, version)) {
      throw unreachable(this.#attempt(), 'the connection broke and the origin sends no parts')
    }
    const end = this.#end ?? length
    if (length !== undefined && end !== undefined && length < end) {
      throw protocolError(this.#url, `${end} bytes`, `content-length ${length}`)
    }
    const take = end === undefined ? undefined : end - this.#position
    return { response, skip: this.#position, take }
  }

  #judgeUnsatisfied(response: Response): undefined {
    const total = unsatisfiedTotalOf(response.headers)
    this.#compare(total === undefined ? {} : { length: total })
    if (this.#end === undefined && total === this.#position) return undefined
    const actual = total === undefined ? 'status 416' : `status 416, ${total} bytes in all`
    throw protocolError(this.#url, `bytes ${this.#rangeText()}`, actual)
  }

  #preconditionFailed(response: Response): Error {
    const expected = this.#ask().match
    if (expected === undefined) return protocolError(this.#url, 'status 200 or 206', 'status 412')
    const actual = answerVersion(response.headers, undefined).etag ?? 'another, by status 412'
    return changedError(this.#url, { what: 'etag', expected, actual })
  }

  /** @throws PeerError ORIGIN_CHANGED */
  #compare(actual: Version): void {
    const { validator } = this.#request
    if (validator !== undefined && this.#wanted === undefined) {
      // Not of our making: nothing can be proven, so it must not be mixed with what is kept.
      const now = validatorOf(actual) ?? 'none'
      throw changedError(this.#url, { what: 'etag', expected: validator, actual: now })
    }
    for (const expected of [this.#wanted, this.#first]) {
      const found = expected === undefined ? undefined : difference(expected, actual)
      if (found !== undefined) throw changedError(this.#url, found)
    }
    this.#first ??= actual
  }

  /** Hands on what is wanted of a body. Returns why it broke; undefined when everything was delivered. */
  async *#deliver(part: Part): AsyncGenerator<Uint8Array, Failure | undefined, undefined> {
    const { response } = part
    const { body } = response
    let { skip, take } = part
    try {
      while (take === undefined || take > 0) {
        const pulled = await this.#pull(body, skip)
        if (pulled.is === 'broken') return pulled.failure
        if (pulled.is === 'end') return this.#ended(response, skip, take)
        if (pulled.is === 'passed') {
          if (take !== undefined) take -= pulled.count
          this.#position += pulled.count
          this.#retries.progressed(pulled.count)
          continue
        }
        const chunk = pulled.chunk.subarray(Math.min(skip, pulled.chunk.length))
        skip -= pulled.chunk.length - chunk.length
        if (chunk.length === 0) continue
        const wanted = chunk.subarray(0, take)
        if (wanted.length < chunk.length && response.statusCode === 206) {
          throw protocolError(this.#url, `bytes ${this.#rangeText()}`, 'more bytes than that')
        }
        if (take !== undefined) take -= wanted.length
        this.#position += wanted.length
        this.#retries.progressed(wanted.length)
        yield wanted
        // Copied by now, says the contract. A read has memory of its own each time, and tens of MiB of it come together before they are collected.
        this.#by.release?.(pulled.chunk)
      }
      return undefined
    } finally {
      await body.return()
    }
  }

  /** The body ended in good order. Fewer bytes than wanted are a fault, but where the connection's end is also the body's, perhaps only one of the way. */
  #ended(response: Response, skip: number, take: number | undefined): Failure | undefined {
    if (take === undefined && skip === 0) return undefined
    const { statusCode, headers } = response
    if (statusCode === 200 && headers['transfer-encoding'] !== undefined) {
      const expected = `${this.#end ?? this.#position} bytes`
      return final(protocolError(this.#url, expected, `${this.#position - skip} bytes`))
    }
    return { error: unreachable(this.#attempt(), 'the body ended early'), transient: true }
  }

  async #pull(body: Response['body'], skip: number): Promise<Pulled> {
    const passed = skip > 0 ? undefined : await this.#passed(body)
    if (passed !== undefined) return passed
    try {
      const next = await body.next()
      this.#request.signal.throwIfAborted()
      return next.done === true ? { is: 'end' } : { is: 'chunk', chunk: next.value }
    } catch (error) {
      this.#request.signal.throwIfAborted()
      return { is: 'broken', failure: failureOf(error, this.#attempt()) }
    }
  }

  /** Undefined where nothing goes past. */
  async #passed(body: Response['body']): Promise<Pulled | undefined> {
    const { offset, signal } = this.#request
    const into = this.#into
    if (into === undefined) return undefined
    try {
      const count = await body.pass(into)
      signal.throwIfAborted()
      return count === 0 ? undefined : { is: 'passed', count }
    } catch (error) {
      signal.throwIfAborted()
      if (error !== body.failure) throw error
      // The last byte came together with the failure.
      if (into.filled === into.piece.length) {
        return { is: 'passed', count: offset + into.filled - this.#position }
      }
      await into.rewind()
      this.#position = offset
      // An origin that falls silent behind so many bytes each time would never be through: what is read here is not lost.
      this.#into = undefined
      return { is: 'broken', failure: failureOf(error, this.#attempt()) }
    }
  }

  /** For errors. */
  get #url(): string {
    return redactUrl(this.#request.url)
  }

  #rangeText(): string {
    return `${this.#position}-${this.#end === undefined ? '' : this.#end - 1}`
  }

  #attempt(): Attempt {
    const { url } = this.#request
    const { attempts } = this.#retries
    return {
      get url() {
        return redactUrl(url)
      },
      attempts,
    }
  }
}
