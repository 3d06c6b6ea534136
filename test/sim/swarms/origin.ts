import { PeerError } from '../../../src/errors.ts'
import type { Origin, OriginStat } from '../../../src/task/ports.ts'
import { abortable } from '../../../src/util/scope.ts'
import { never } from '../clock.ts'
import { bytesOf, type Version } from './content.ts'
import type { Dice } from './dice.ts'
import { type Network, Unreachable } from './network.ts'
import type { OriginFault, Scenario } from './scenario.ts'

/** Name of the node. */
export const originName = 'origin'
/** How it is called. */
export const originUrl = 'https://origin.example/m.bin'
/** How long connecting may take. */
const connectMs = 3000

type Part = Parameters<Origin['read']>[0]

/** The origin of a swarm: one content, some faults, and a count of what it sent. */
export class SwarmOrigin {
  readonly #network: Network
  readonly #dice: Dice
  readonly #plan: Scenario['origin']
  version: Version
  fault: OriginFault | undefined
  /** Bytes sent. */
  sent = 0
  /** Answers under way. */
  open = 0

  constructor(network: Network, dice: Dice, plan: Scenario['origin'], contentLength: number) {
    this.#network = network
    this.#dice = dice
    this.#plan = plan
    this.version = { number: 0, contentLength }
  }

  /** The origin as this peer sees it. */
  seenBy(name: string): Origin {
    return {
      stat: (signal) => this.#stat(name, signal),
      read: (part, signal) => this.#read(name, part, signal),
    }
  }

  get #validator(): string | undefined {
    return this.#plan.versions ? `v${this.version.number}` : undefined
  }

  async #stat(from: string, signal: AbortSignal): Promise<OriginStat> {
    await this.#connect(from, signal)
    const length = this.version.contentLength
    const validator = this.#validator
    await this.#network.arrive(originName, from, signal)
    const known = validator === undefined ? {} : { validator }
    return { length, ranges: this.#plan.ranges, headers: {}, ...known }
  }

  async *#read(
    from: string,
    part: Part,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    this.open++
    try {
      await this.#connect(from, signal)
      const validator = this.#validator
      if (part.validator !== undefined && validator !== part.validator) {
        throw new PeerError('ORIGIN_CHANGED', 'The content changed', {
          url: originUrl,
          what: 'etag',
          expected: part.validator,
          actual: String(validator),
        })
      }
      yield* this.#send(from, part, signal)
    } finally {
      this.open--
    }
  }

  async *#send(from: string, part: Part, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const { number, contentLength } = this.version
    const { chunkBytes, chunkMs } = this.#plan
    const wanted = part.offset + (part.length ?? contentLength - part.offset)
    let end = Math.min(wanted, contentLength)
    if (this.fault === 'short') end -= this.#dice.whole(1, end - part.offset)
    if (this.fault === 'long') end += this.#dice.whole(1, 5)
    // One buffer for all chunks: whoever keeps a chunk sees it change.
    const chunk = new Uint8Array(chunkBytes)
    for (let at = part.offset; at < end; at += chunkBytes) {
      const slow = this.fault === 'slow' ? 20 : 1
      await this.#network.clock.sleep(chunkMs * slow, signal)
      await this.#network.healed(originName, from, signal)
      if (this.fault === 'stall') await never(signal)
      if (this.fault === 'down' || (this.fault === 'reset' && this.#dice.chance(0.5))) {
        throw unreachable('The connection was reset')
      }
      const count = Math.min(chunkBytes, end - at)
      chunk.set(bytesOf(number, at, count))
      this.sent += count
      yield chunk.subarray(0, count)
    }
    chunk.fill(0)
  }

  async #connect(from: string, signal: AbortSignal): Promise<void> {
    try {
      await abortable(this.#network.reach(from, originName, connectMs, signal), signal)
    } catch (error) {
      if (error instanceof Unreachable) throw unreachable(error.message)
      throw error
    }
    if (this.fault === 'down') throw unreachable('The connection was refused')
    if (this.fault === 'errors' && this.#dice.chance(0.7)) {
      const details = { url: originUrl, status: 503, attempts: 3 }
      throw new PeerError('ORIGIN_UNAVAILABLE', 'The origin is busy', details)
    }
  }
}

function unreachable(reason: string): PeerError {
  const details = { url: originUrl, attempts: 3, reason }
  return new PeerError('ORIGIN_UNREACHABLE', reason, details)
}
