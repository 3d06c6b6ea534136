import { crc32 } from '../hash/crc32.ts'
import { Scope } from '../util/scope.ts'
import type { Piece } from './piece.ts'
import type { ParentAddress, PieceReader, Received, Slot, TaskSpec } from './ports.ts'

/** Most bytes that one download fetches twice because of hedging, as a part of its content. */
export const hedgedShareMax = 0.05
/** Longest piece that is hedged, in bytes: the second copy lies in memory of its own until one has won. */
export const hedgedPieceBytesMax: number = 16 * 1024 * 1024

/** A piece that is slow to come. */
export interface Slow {
  readonly number: number
  /** When it will be here at the speed at which it comes, in milliseconds. Infinite: nothing has come. */
  readonly restMs: number
}

/** What a hedge reads with. */
export interface HedgeWorld {
  readonly spec: TaskSpec
  readonly reader: PieceReader
}

/** Why the signal of a read fires that has lost. It never leaves the fetcher. */
export const beaten: Error = new Error('The piece has come from somebody else')

/** A second fetch of a piece, from another parent, into memory of its own. Whoever is first wins, and the other one is stopped. */
export class Hedge {
  /** Who is asked. */
  readonly parent: string
  readonly #slot: Scratch
  readonly #scope = new Scope([])
  #won: Received | undefined

  constructor(piece: Piece, parent: string) {
    this.parent = parent
    this.#slot = new Scratch(piece)
  }

  /** Bytes that have come. */
  get filled(): number {
    return this.#slot.filled
  }

  /** Set when all of it is here and is what the parent says it is. */
  get won(): Received | undefined {
    return this.#won
  }

  /** Reads. Resolves when it has won, rejects when it has failed or was stopped. */
  async run({ spec, reader }: HedgeWorld, from: ParentAddress): Promise<void> {
    const { piece } = this.#slot
    const request = { taskId: spec.id, kind: spec.kind, piece }
    const { signal } = this.#scope
    const received = await reader.read(from, request, this.#slot, signal)
    const digest = await this.#slot.finish()
    if (received.digest !== '' && received.digest !== digest) throw new Error('Another digest')
    signal.throwIfAborted()
    this.#won = { ...received, digest }
  }

  /** It has lost. Nothing happens when it is over. */
  stop(): void {
    this.#scope.abort(beaten)
  }

  /** Puts what it has into an empty slot. */
  async pour(into: Slot): Promise<void> {
    const { bytes } = this.#slot
    while (into.filled < bytes.length) {
      const space = into.space()
      if (space === undefined) await into.drained()
      else {
        space.set(bytes.subarray(into.filled, into.filled + space.length))
        into.fill(space.length)
      }
    }
  }
}

/** A slot in ordinary memory, of which nobody else knows. */
class Scratch implements Slot {
  readonly piece: Piece
  readonly bytes: Uint8Array
  #filled = 0

  constructor(piece: Piece) {
    this.piece = piece
    this.bytes = new Uint8Array(piece.length)
  }

  get filled(): number {
    return this.#filled
  }

  space(): Uint8Array {
    return this.bytes.subarray(this.#filled)
  }

  fill(count: number): void {
    if (count > this.bytes.length - this.#filled) throw new RangeError('More than the space')
    this.#filled += count
  }

  async drained(): Promise<void> {
    // It always has space.
  }

  async rewind(): Promise<void> {
    this.#filled = 0
  }

  async finish(): Promise<string> {
    if (this.#filled < this.bytes.length) throw new RangeError('Bytes are missing')
    return `crc32:${crc32(this.bytes)}`
  }

  release(): void {
    // The memory goes with the hedge.
  }
}
