import type { Origin, PieceReader } from '../task/ports.ts'
import type { RateGate } from '../transport/transport.ts'

/** A reader whose pieces wait for their share of the bandwidth before they are asked for. */
export function limitedReader(reader: PieceReader, gate: RateGate): PieceReader {
  return {
    async read(from, request, slot, signal) {
      await gate.take(request.piece.length, signal)
      return reader.read(from, request, slot, signal)
    },
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
  async take(byteCount: number, signal: AbortSignal): Promise<void> {
    await this.#gate.take(byteCount, signal)
    this.#bytes += byteCount
  }
}
