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
/** Of one that is for the fields of an answer. */
const headBytes = 4 * 1024
/**
 * Zeros, of which nobody reads one: of so much memory the system makes pages only when they are touched. One byte of it is left out, so that nobody can take all of it for a
 * read and give it back.
 */
const blank: Buffer = Buffer.alloc(8 * 1024 * 1024 + 1).subarray(1)
/** So many at a time where the parser copies what it gets: they stay in the cache of a processor. */
const copiedBytes = 256 * 1024

/**
 * A connection whose bytes can go past Node's parser of HTTP, which counts those of a body. While somebody else reads the socket nothing is read here; afterwards the parser is given
 * as many zeros as bytes went by, so that it finds the end of the body, and the connection can be used again.
 *
 * Node reads into memory that is named here, because only then `pause()` stops it at once: otherwise it may read once more.
 */
export class Line extends Socket {
  #memory: Buffer = Buffer.allocUnsafeSlow(readBytes)
  readonly #head: Buffer = Buffer.allocUnsafeSlow(headBytes)
  /** Where the next read goes. */
  #named: Buffer = this.#head
  #awaitsHead = true
  /** Somebody else reads. */
  #lent = false
  #passed = false

  constructor(options: object) {
    const onread: OnReadOpts = {
      buffer: () => this.#name(),
      callback: (count) => this.#onRead(count),
    }
    const all: SocketConstructorOpts & ConnectOpts = { ...options, onread }
    super(all)
  }

  /** The next read is for the fields of an answer: what comes behind them shall go another way. */
  awaitHead(): void {
    this.#awaitsHead = true
  }

  /** Whether somebody else has read since it was asked this the last time. */
  passed(): boolean {
    const passed = this.#passed
    this.#passed = false
    return passed
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
    this.#lent = this.#passed = true
    return descriptor
  }

  /**
   * Is read here again. True when the `count` bytes that went by are counted now; otherwise whoever follows the stream gets a zero for each of them, before this returns or
   * when the stream flows again.
   */
  back(count: number): boolean {
    this.#lent = false
    // Nothing is read in this turn of the event loop, so the zeros are before what comes.
    this.resume()
    const hear = deafened(this)
    const most = hear === undefined ? copiedBytes : blank.length
    try {
      for (let left = count; left > 0 && !this.destroyed; left -= most) {
        this.emit('data', blank.subarray(0, Math.min(left, most)))
      }
    } finally {
      hear?.()
    }
    return hear !== undefined
  }

  /** Asked when a read is over, and not before the next one. */
  #name(): Buffer {
    this.#named = this.#awaitsHead ? this.#head : this.#memory
    this.#awaitsHead = false
    return this.#named
  }

  /** Whoever gets bytes may keep them. */
  #onRead(count: number): boolean {
    const read = count === readBytes ? this.#memory : Buffer.allocUnsafeSlow(count)
    if (count < readBytes) this.#named.copy(read, 0, 0, count)
    else this.#memory = Buffer.allocUnsafeSlow(readBytes)
    this.emit('data', read)
    return true
  }
}

/** Where Node's parser of HTTP has the function that takes the bytes of a body. */
const onBody = 3

/**
 * Node's parser only counts the bytes of a body when there is no function to take them; with one it copies them for it. Neither that nor where the parser is stands in the
 * documents of Node.js. Undefined where it is not as it has been; otherwise what undoes it, in the same turn, for parsers serve one connection after another.
 */
function deafened(line: Line): (() => void) | undefined {
  const { parser } = line as { readonly parser?: Record<number, unknown> | null }
  const taker = parser?.[onBody]
  if (!parser || typeof taker !== 'function' || taker.name !== 'parserOnBody') return undefined
  parser[onBody] = null
  return () => {
    parser[onBody] = taker
  }
}

/** Keeps connections of this kind. */
export class LineAgent extends Agent {
  override createConnection(options: ClientRequestArgs): Line {
    const line = new Line(options)
    return line.connect(options as NetConnectOpts)
  }
}
