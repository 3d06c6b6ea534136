import type { Slot } from '../../task/ports.ts'
import { type Deferred, deferred } from '../../util/deferred.ts'
import { abortable, Scope } from '../../util/scope.ts'
import type { LeasedPiece } from './control.ts'
import { bouncesMax, readBytesLeast, readBytesMax } from './limits.ts'
import type { NativeRdma } from './native.ts'
import type { Reads } from './reads.ts'
import type { Hold, Regions } from './regions.ts'
import type { Slab, Slabs } from './slabs.ts'

/** What the reading of a piece works with. */
export interface TransferHost {
  readonly native: NativeRdma
  readonly reads: Reads
  readonly regions: Regions
  readonly slabs: Slabs
  /** Longest READ of the port. */
  readonly readBytesMax: number
}

/** A part of the piece that is on its way, or there. */
interface Part {
  readonly offset: number
  readonly length: number
  /** Where its bytes come, if that is not the slot itself. */
  readonly slab: Slab | undefined
  readonly done: Promise<void>
}

/**
 * One piece on its way from the parent's memory into a slot: READs are begun in order, as far ahead as it is this piece's turn, and the slot is told of each
 * part in order when it is there.
 *
 * A slot that leads to registered memory is read into where it is. For any other one the parts go through slabs and are copied.
 */
export class Transfer {
  readonly #host: TransferHost
  readonly #slot: Slot
  readonly #from: Pick<LeasedPiece, 'address' | 'key'>
  readonly #parts: Part[] = []
  #partBytes = readBytesMax
  #failure: { readonly error: unknown } | undefined
  #change: Deferred<void> | undefined

  constructor(host: TransferHost, slot: Slot, from: Pick<LeasedPiece, 'address' | 'key'>) {
    this.#host = host
    this.#slot = slot
    this.#from = from
  }

  /** Resolves when the slot is full. When it rejects, nothing writes to the slot any more. */
  async run(signal: AbortSignal): Promise<void> {
    using scope = new Scope([signal])
    const place = await this.#place()
    const bytes = partBytesFor(this.#slot.piece.length, place === undefined)
    this.#partBytes = Math.min(bytes, this.#host.readBytesMax)
    const beginning = this.#begin(place, scope.signal).catch((error: unknown) => {
      this.#failure ??= { error }
      this.#changed()
    })
    try {
      await this.#fill(place, scope.signal)
    } finally {
      scope.abort(new Error('The piece is over'))
      await beginning
      for (const part of this.#parts) {
        // What went wrong is told by the first part that failed.
        await part.done.catch(() => undefined)
        part.slab?.give()
      }
      place?.hold.end()
    }
  }

  /** The slot's own memory, registered; undefined when its parts must go through slabs. */
  async #place(): Promise<Place | undefined> {
    const { native, regions } = this.#host
    const space = this.#slot.space()
    if (space === undefined || space.length !== this.#slot.piece.length) return undefined
    const { buffer, byteOffset: start, length } = space
    if (!(buffer instanceof ArrayBuffer) || !native.isAllocated(buffer)) return undefined
    const hold = await regions.hold(
      buffer,
      { start: 0, length: buffer.byteLength },
      { start, length },
    )
    return { hold, start }
  }

  async #begin(place: Place | undefined, signal: AbortSignal): Promise<void> {
    const { slabs, reads } = this.#host
    const { length } = this.#slot.piece
    for (let offset = 0; offset < length; offset += this.#partBytes) {
      const partLength = Math.min(this.#partBytes, length - offset)
      if (place === undefined) {
        while (this.#parts.length >= bouncesMax) await this.#next(signal)
      }
      const slab = place === undefined ? await slabs.take(partLength, slabs, signal) : undefined
      try {
        await reads.turn(partLength, signal)
      } catch (error) {
        slab?.give()
        throw error
      }
      const into =
        slab === undefined
          ? { registration: place?.hold.registration, offset: (place?.hold.offset ?? 0) + offset }
          : { registration: slab.registration, offset: 0 }
      this.#post(into, { offset, length: partLength, slab })
    }
  }

  #post(
    into: { readonly registration: Hold['registration'] | undefined; readonly offset: number },
    part: Omit<Part, 'done'>,
  ): void {
    const { registration, offset } = into
    if (registration === undefined) throw new TypeError('The part has no place')
    const { address, key } = this.#from
    const done = this.#host.reads.read(
      { registration, offset, byteLength: part.length },
      { address: address + BigInt(part.offset), key },
    )
    // It is waited for in its turn.
    done.catch(() => undefined)
    this.#parts.push({ ...part, done })
    this.#changed()
  }

  async #fill(place: Place | undefined, signal: AbortSignal): Promise<void> {
    const slot = this.#slot
    while (slot.filled < slot.piece.length) {
      signal.throwIfAborted()
      const part = this.#parts[0]
      if (part === undefined) {
        if (this.#failure !== undefined) throw this.#failure.error
        await this.#next(signal)
        continue
      }
      await part.done
      signal.throwIfAborted()
      if (part.slab === undefined) this.#took(part, place)
      else await this.#copy(part.slab.bytes, signal)
      this.#parts.shift()
      part.slab?.give()
      this.#changed()
    }
  }

  /** @throws RangeError when the slot breaks its contract: its bytes would be elsewhere */
  #took(part: Part, place: Place | undefined): void {
    const space = this.#slot.space()
    if (space?.byteOffset !== (place?.start ?? 0) + part.offset) {
      throw new RangeError(`The slot has moved after ${part.offset} bytes`)
    }
    this.#slot.fill(part.length)
  }

  async #copy(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    for (let rest = bytes; rest.length > 0; ) {
      const space = this.#slot.space()
      if (space === undefined) {
        await abortable(this.#slot.drained(), signal)
        signal.throwIfAborted()
        continue
      }
      if (space.length === 0) throw new RangeError('The slot is full too early')
      const part = rest.subarray(0, space.length)
      space.set(part)
      this.#slot.fill(part.length)
      rest = rest.subarray(part.length)
      signal.throwIfAborted()
    }
  }

  /** Resolves when a part was begun or is finished. */
  async #next(signal: AbortSignal): Promise<void> {
    this.#change ??= deferred()
    await abortable(this.#change.promise, signal)
  }

  #changed(): void {
    this.#change?.resolve()
    this.#change = undefined
  }
}

interface Place {
  readonly hold: Hold
  /** Where the piece begins in its buffer. */
  readonly start: number
}

/** Long pieces are read in longer parts: the fewer, the less work, and 16 are enough to be digested on the way. Slabs are of two parts at least. */
function partBytesFor(length: number, aside: boolean): number {
  let bytes = aside ? 2 * readBytesLeast : readBytesLeast
  while (bytes < readBytesMax && bytes * 16 < length) bytes *= 2
  return bytes
}
