import { Buffer } from 'node:buffer'
import { Agent, type ClientRequestArgs } from 'node:http'
import {
  type ConnectOpts,
  type NetConnectOpts,
  type OnReadOpts,
  Socket,
  type SocketConstructorOpts,
} from 'node:net'
import { descriptorOf } from '../util/descriptor.ts'

/** Bytes of one read: what Node itself takes. */
const readBytes = 64 * 1024
/** The parser copies what it gets: so much stays in the cache of a processor. One byte of its memory is left out, so that nobody can take all of it for a read and give it back. */
const blank: Buffer = Buffer.alloc(256 * 1024 + 1).subarray(1)

/**
 * A connection whose bytes can go past Node's parser of HTTP, which counts those of a body. While somebody else reads the socket nothing is read here; afterwards the parser is given
 * as many zeros as bytes went by, so that it finds the end of the body, and the connection can be used again.
 *
 * Node reads into memory that is named here, because only then `pause()` stops it at once: otherwise it may read once more.
 */
export class Line extends Socket {
  #memory: Buffer = Buffer.allocUnsafeSlow(readBytes)
  /** Somebody else reads. */
  #lent = false

  constructor(options: object) {
    const onread: OnReadOpts = {
      buffer: () => this.#memory,
      callback: (count) => this.#onRead(count),
    }
    const all: SocketConstructorOpts & ConnectOpts = { ...options, onread }
    super(all)
  }

  /** Not while somebody else reads: the parser asks for more whenever it has room. */
  override resume(): this {
    return this.#lent ? this : super.resume()
  }

  /** Stops reading here. The descriptor for whoever reads now, until `back()`; undefined where there is none. */
  lend(): number | undefined {
    const descriptor = this.destroyed || this.#lent ? undefined : descriptorOf(this)
    if (descriptor === undefined) return undefined
    this.pause()
    this.#lent = true
    return descriptor
  }

  /** Is read here again. Whoever follows the stream gets a zero for each of the `count` bytes that went by, before this returns or when the stream flows again. */
  back(count: number): void {
    this.#lent = false
    // Nothing is read in this turn of the event loop, so the zeros are before what comes.
    this.resume()
    for (let left = count; left > 0 && !this.destroyed; left -= blank.length) {
      this.emit('data', blank.subarray(0, left))
    }
  }

  /** Whoever gets bytes may keep them. */
  #onRead(count: number): boolean {
    const read = count === readBytes ? this.#memory : Buffer.allocUnsafeSlow(count)
    if (count < readBytes) this.#memory.copy(read, 0, 0, count)
    else this.#memory = Buffer.allocUnsafeSlow(readBytes)
    this.emit('data', read)
    return true
  }
}

/** Keeps connections of this kind. */
export class LineAgent extends Agent {
  override createConnection(options: ClientRequestArgs): Line {
    const line = new Line(options)
    return line.connect(options as NetConnectOpts)
  }
}
