import { pieceAt } from '../task/piece.ts'
import type { Origin, Sink } from '../task/ports.ts'
import type { RateGate } from '../transport/transport.ts'
import type { Pace } from './pace.ts'
import { PacedSlot } from './paced-slot.ts'

/** A sink whose slots are filled at a pace. What a slot waits for at its beginning it waits for before anybody is asked. */
export function limitedSink(sink: Sink, pace: Pace): Sink {
  return {
    geometry: sink.geometry,
    has: (number) => sink.has(number),
    digestOf: (number) => sink.digestOf(number),
    async slot(number, signal) {
      const { length } = pieceAt(sink.geometry, number)
      const leave = await pace.enter(length, signal)
      try {
        const granted = pace.limited ? Math.min(pace.partBytes, length) : 0
        if (granted > 0) await pace.take(granted, signal)
        const slot = await sink.slot(number, signal)
        return new PacedSlot(slot, pace, { granted, signal, leave })
      } catch (error) {
        leave()
        throw error
      }
    },
    commit: (slot, kept) => sink.commit(slot instanceof PacedSlot ? slot.inner : slot, kept),
  }
}

/** An origin whose bytes wait for their share of the bandwidth: its connection is read no faster. */
export function limitedOrigin(origin: Origin, gate: Pick<RateGate, 'take'>): Origin {
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
