import { pieceAt } from '../task/piece.ts'
import type { Origin, Sink } from '../task/ports.ts'
import type { RateGate } from '../transport/transport.ts'

/** A sink whose slots wait for their share of the bandwidth: before anybody is asked, so that the wait is not taken for the silence of a parent. */
export function limitedSink(sink: Sink, gate: RateGate): Sink {
  return {
    geometry: sink.geometry,
    has: (number) => sink.has(number),
    async slot(number, signal) {
      await gate.take(pieceAt(sink.geometry, number).length, signal)
      return sink.slot(number, signal)
    },
    commit: (slot, kept) => sink.commit(slot, kept),
  }
}

/** An origin whose bytes wait for their share of the bandwidth: its connection is read no faster. */
export function limitedOrigin(origin: Origin, gate: RateGate): Origin {
  return {
    stat: (signal) => origin.stat(signal),
    async *read(part, signal) {
      for await (const chunk of origin.read(part, signal)) {
        await gate.take(chunk.byteLength, signal)
        yield chunk
      }
    },
  }
}

/** A gate that counts what passes. */
export class MeteredGate implements RateGate {
  readonly #gate: RateGate
  #bytes = 0

  constructor(gate: RateGate) {
    this.#gate = gate
  }

  /** Bytes let through since the start. */
  get bytes(): number {
    return this.#bytes
  }

  /** See `RateGate`. */
  get limited(): boolean {
    return this.#gate.limited !== false
  }

  /** See `RateGate`. */
  async take(byteCount: number, signal: AbortSignal): Promise<void> {
    await this.#gate.take(byteCount, signal)
    this.#bytes += byteCount
  }
}
