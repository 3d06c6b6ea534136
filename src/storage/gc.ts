import type { Clock } from '../util/clock.ts'
import { type GcChoice, type GcTask, garbageSteps } from './gc-policy.ts'

/** A turn of the event loop drops at most so many tasks. */
const dropsPerTurnMax = 16

/** Share of the capacity above which tasks are dropped. */
export const highWater = 0.9
/** Share of the capacity down to which tasks are dropped. */
export const lowWater = 0.7
/** Milliseconds between two collections by the clock. */
export const gcIntervalMs = 60_000

/** When and how much is collected. Every store takes these. */
export interface GcOptions {
  /** Milliseconds that a task without a time to live of its own stays unused before it is dropped. @defaultValue for ever */
  readonly ttlMs?: number
  /** Share of the capacity above which tasks are dropped, 0 to 1. @defaultValue `highWater` */
  readonly highWater?: number
  /** Share of the capacity down to which tasks are dropped then, 0 to `highWater`. @defaultValue `lowWater` */
  readonly lowWater?: number
  /** Milliseconds between two collections by the clock. @defaultValue `gcIntervalMs` */
  readonly gcIntervalMs?: number
}

/** The store, as collection sees it. */
export interface GcHost {
  readonly clock: Clock
  /** All tasks. Looked at in parts, with turns of the event loop between them. */
  tasks(): Iterable<GcTask>
  /** Drops one task; its files may go later. */
  drop(choice: GcChoice): Promise<void>
  /** Bytes taken and the most that can be. */
  capacity(): Promise<{ readonly bytesUsed: number; readonly bytesMax: number }>
  /** Called on each turn of the clock, before tasks are looked at. */
  tick?(): Promise<void>
}

/** Runs the policy: when room is wanted, and by the clock. One run at a time; its timer never keeps the process alive. */
export class Collector {
  readonly #host: GcHost
  readonly #settings: Required<Omit<GcOptions, 'ttlMs'>> & Pick<GcOptions, 'ttlMs'>
  #last: Promise<void> = Promise.resolve()
  #stopTimer: () => void = () => undefined
  #closed = false

  constructor(host: GcHost, options: GcOptions) {
    this.#host = host
    this.#settings = {
      highWater: share('highWater', options.highWater ?? highWater, 1),
      lowWater: share('lowWater', options.lowWater ?? lowWater, options.highWater ?? highWater),
      gcIntervalMs: options.gcIntervalMs ?? gcIntervalMs,
      ...(options.ttlMs === undefined ? {} : { ttlMs: options.ttlMs }),
    }
  }

  /** Starts the clock. */
  start(): void {
    if (this.#closed) return
    this.#stopTimer = this.#host.clock.after(this.#settings.gcIntervalMs, () => {
      // Nobody waits for this run; what it could not drop, the next one tries again.
      void this.#tick()
        .catch(() => undefined)
        .finally(() => this.start())
    })
  }

  /** Drops what the policy says, after runs that were asked for earlier. Rejects with the first failure, having tried all. */
  collect(): Promise<void> {
    const run = this.#last.then(() => this.#run())
    this.#last = run.catch(() => undefined)
    return run
  }

  /** Stops the clock and waits for a running collection. */
  async close(): Promise<void> {
    this.#closed = true
    this.#stopTimer()
    await this.#last
  }

  async #tick(): Promise<void> {
    try {
      await this.#host.tick?.()
    } finally {
      // Also when a full disk takes no more notes: dropping tasks is what helps then.
      await this.collect()
    }
  }

  async #run(): Promise<void> {
    if (this.#closed) return
    const { bytesUsed, bytesMax } = await this.#host.capacity()
    const { ttlMs } = this.#settings
    const steps = garbageSteps(this.#host.tasks(), {
      now: this.#host.clock.date(),
      bytesUsed,
      highWaterBytes: bytesMax * this.#settings.highWater,
      lowWaterBytes: bytesMax * this.#settings.lowWater,
      ...(ttlMs === undefined ? {} : { ttlMs }),
    })
    const errors: unknown[] = []
    let turn: GcChoice[] = []
    for (const choice of steps) {
      if (this.#closed) break
      if (choice !== undefined) turn.push(choice)
      if (choice !== undefined && turn.length < dropsPerTurnMax) continue
      errors.push(...(await this.#drop(turn)))
      turn = []
    }
    if (!this.#closed) errors.push(...(await this.#drop(turn)))
    if (errors.length > 0) throw errors[0]
  }

  /** Drops these, and lets others have a turn. What failed. */
  async #drop(choices: readonly GcChoice[]): Promise<unknown[]> {
    const results = await Promise.allSettled(choices.map((choice) => this.#host.drop(choice)))
    await new Promise<void>((resolve) => setImmediate(resolve))
    return results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
  }
}

function share(name: string, value: number, max: number): number {
  if (value >= 0 && value <= max) return value
  throw new RangeError(`${name} must be a share from 0 to ${max}, got ${value}`)
}
