import type { Clock } from '../util/clock.ts'
import { Scope } from '../util/scope.ts'
import { type OriginAccess, originSilent, pour, validatorOf, wrongLength } from './origin-read.ts'
import { Patience, WatchedSlot } from './patience.ts'
import { type Piece, pieceAt } from './piece.ts'
import { originId } from './plan.ts'
import type { Sink } from './ports.ts'

/** What one pass over the origin needs. */
export interface PassWorld {
  readonly access: OriginAccess
  readonly sink: Sink
  readonly clock: Clock
  /** The origin is given up after this time without a byte. */
  readonly pieceTimeoutMs: number
}

/** What a pass asks and tells. */
export interface PassEvents {
  /** Whether a piece from this number on is still to come from the origin; if not, the pass ends early. */
  wants(number: number): boolean
  /** The stream has reached this piece. True: store it; `onKept` or `onFailed` follows. */
  claim(number: number): boolean
  onBytes(): void
  onKept(piece: Piece, digest: string, costMs: number): void
  /** The claimed piece did not come. Its slot is released. */
  onFailed(piece: Piece): void
}

interface OpenPiece {
  readonly piece: Piece
  readonly slot: WatchedSlot
  readonly inner: Awaited<ReturnType<Sink['slot']>>
  readonly startedAt: number
}

/**
 * Reads an origin that gives its content only as a whole, from the first byte on, and stores the pieces that are claimed as the stream passes them.
 * Rejects with what went wrong; the piece that was open then has failed, those before it are kept.
 *
 * @throws PeerError the ORIGIN_ codes, NO_SPACE, STORE_FAILED; ORIGIN_PROTOCOL when the content is longer or shorter than it should be
 */
export async function readInOrder(
  world: PassWorld,
  events: PassEvents,
  signal: AbortSignal,
): Promise<void> {
  const endMs = world.pieceTimeoutMs
  using scope = new Scope([signal])
  using patience = new Patience(
    world.clock,
    { quietMs: endMs, slowMs: Number.POSITIVE_INFINITY, endMs },
    {
      behind: () => false,
      onQuiet: () => undefined,
      onEnd: () => scope.abort(originSilent(world.access, endMs)),
    },
  )
  await new Pass(world, events, patience, scope.signal).run()
}

/** The position in the stream, and the piece that is open there. */
class Pass {
  readonly #world: PassWorld
  readonly #events: PassEvents
  readonly #patience: Patience
  readonly #signal: AbortSignal
  #at = 0
  #open: OpenPiece | undefined

  constructor(world: PassWorld, events: PassEvents, patience: Patience, signal: AbortSignal) {
    this.#world = world
    this.#events = events
    this.#patience = patience
    this.#signal = signal
  }

  async run(): Promise<void> {
    const { access, sink } = this.#world
    const { contentLength } = sink.geometry
    try {
      const part = { offset: 0, ...validatorOf(access) }
      for await (const chunk of access.origin.read(part, this.#signal)) {
        this.#patience.touch()
        this.#events.onBytes()
        if (this.#at + chunk.length > contentLength) {
          throw wrongLength(access, contentLength, `${this.#at + chunk.length} or more`)
        }
        if (!(await this.#take(chunk))) return
      }
      if (this.#at < contentLength) throw wrongLength(access, contentLength, String(this.#at))
      // The last piece is kept only now: before the end of the stream nobody knows whether the content is longer than it should be.
      await this.#end()
    } catch (error) {
      throw this.#open?.slot.failure === undefined ? error : this.#open.slot.failure.error
    } finally {
      this.#drop()
    }
  }

  /** Spreads a chunk over the pieces that it touches. False when nothing further is wanted. */
  async #take(chunk: Uint8Array): Promise<boolean> {
    const cut = this.#world.sink.geometry
    let rest = chunk
    while (rest.length > 0) {
      const piece = pieceAt(cut, Math.floor(this.#at / cut.pieceLength))
      if (this.#at === piece.offset) {
        if (!this.#events.wants(piece.number)) return false
        if (this.#events.claim(piece.number)) await this.#begin(piece)
      }
      const part = rest.subarray(0, piece.offset + piece.length - this.#at)
      if (this.#open !== undefined) await pour(part, this.#open.slot)
      this.#at += part.length
      rest = rest.subarray(part.length)
      const ends = this.#at === piece.offset + piece.length
      if (ends && this.#at < cut.contentLength) await this.#end()
    }
    return true
  }

  async #begin(piece: Piece): Promise<void> {
    const { sink, clock } = this.#world
    this.#patience.hold()
    try {
      const inner = await sink.slot(piece.number, this.#signal)
      const slot = new WatchedSlot(inner, this.#patience, () => undefined)
      this.#open = { piece, slot, inner, startedAt: clock.now() }
    } catch (error) {
      this.#events.onFailed(piece)
      throw error
    } finally {
      this.#patience.release()
    }
  }

  async #end(): Promise<void> {
    const open = this.#open
    if (open === undefined) return
    this.#patience.hold()
    try {
      const digest = await open.slot.finish()
      this.#signal.throwIfAborted()
      await this.#world.sink.commit(open.inner, { digest, parentId: originId })
      this.#open = undefined
      open.inner.release()
      this.#events.onKept(open.piece, digest, this.#world.clock.now() - open.startedAt)
    } finally {
      this.#patience.release()
    }
  }

  #drop(): void {
    if (this.#open === undefined) return
    const { piece, inner } = this.#open
    this.#open = undefined
    inner.release()
    this.#events.onFailed(piece)
  }
}
