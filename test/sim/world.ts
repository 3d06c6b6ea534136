import assert from 'node:assert/strict'
import { type Geometry, geometry } from '../../src/task/piece.ts'
import { Run } from '../../src/task/run.ts'
import type { RunOptions, RunPorts } from '../../src/task/run-options.ts'
import { seeded, VirtualClock } from './clock.ts'
import { contentOf, spec } from './content.ts'
import { SimOrigin } from './origin.ts'
import { SimParents } from './parents.ts'
import type { SimAnnouncer } from './scheduler.ts'
import { SimSink, type SinkFaults } from './sink.ts'

/** A piece length that makes pictures of swarms readable and content small. */
export const pieceLength = 10

/** A world for one run: clock, sink, parents, origin. */
export class SimWorld {
  readonly clock: VirtualClock = new VirtualClock()
  readonly cut: Geometry
  readonly sink: SimSink
  readonly parents: SimParents
  readonly origin: SimOrigin
  #peers = 0

  /** @param pieceCount - the last piece is shorter than the others */
  constructor(pieceCount: number, faults: SinkFaults = {}) {
    this.cut = geometry(pieceCount * pieceLength - 3, pieceLength)
    this.sink = new SimSink(this.cut, faults)
    this.parents = new SimParents(this.cut, this.clock)
    this.origin = new SimOrigin(this.clock, this.cut.contentLength)
  }

  /** A run in this world, with the origin at hand. */
  run(
    announcer: SimAnnouncer,
    options: RunOptions = {},
    seed = 1,
    ports: Partial<RunPorts> = {},
  ): Run {
    return new Run(spec, this.sink, options, {
      announcer,
      feed: this.parents,
      reader: this.parents,
      origin: this.origin,
      clock: this.clock,
      random: seeded(seed),
      newPeerId: () => `peer-${++this.#peers}`,
      ...ports,
    })
  }

  /** All numbers. */
  get all(): number[] {
    return Array.from({ length: this.cut.pieceCount }, (_, number) => number)
  }

  /** The kept pieces have the right bytes. */
  checkContent(): void {
    for (const number of this.all) {
      if (!this.sink.has(number)) continue
      const start = number * this.cut.pieceLength
      const kept = this.sink.bytes.subarray(start, start + this.cut.pieceLength)
      assert.deepEqual(kept, contentOf(start, kept.length), `Piece ${number}`)
    }
  }

  /** Nothing is left of a run: no slot, read, feed, timer. */
  checkNothingOpen(): void {
    const open = {
      slots: this.sink.openSlots,
      parents: this.parents.open,
      origin: this.origin.open,
      timers: this.clock.pending,
    }
    assert.deepEqual(open, { slots: 0, parents: 0, origin: 0, timers: 0 })
  }
}

/** Whether a promise has settled, as a fact that can be looked at. */
export function outcomeOf<T>(promise: Promise<T>): {
  settled: boolean
  value?: T
  error?: unknown
} {
  const seen: { settled: boolean; value?: T; error?: unknown } = { settled: false }
  promise.then(
    (value) => Object.assign(seen, { settled: true, value }),
    (error: unknown) => Object.assign(seen, { settled: true, error }),
  )
  return seen
}
