import { readdirSync, readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'

/** What the process holds while nothing is being done. */
export interface Sample {
  /** Since the start. */
  readonly minutes: number
  /** Resident memory, after collecting garbage where that can be ordered. */
  readonly residentBytes: number
  readonly heapBytes: number
  /** Array buffers and what else V8 knows of outside of its heap. */
  readonly externalBytes: number
  readonly descriptors: number
  /** Timers, sockets, servers and whatever else keeps a process alive. */
  readonly resources: number
  /** 99th percentile of the delay of the event loop since the last sample. */
  readonly loopDelayMs: number
}

/** Names of the figures of a sample that are judged. */
export type Figure = Exclude<keyof Sample, 'minutes' | 'loopDelayMs'>

/** Takes samples. */
export class Samples {
  readonly list: Sample[] = []
  readonly #begun = performance.now()
  readonly #delay = monitorEventLoopDelay({ resolution: 10 })

  constructor() {
    this.#delay.enable()
  }

  /** One more. The caller has seen to it that nothing is being done. */
  take(): Sample {
    const { gc } = globalThis as { readonly gc?: () => void }
    // Finalizers of the first run free what only the second one collects.
    gc?.()
    gc?.()
    const { heapUsed, external } = process.memoryUsage()
    const sample: Sample = {
      minutes: (performance.now() - this.#begun) / 60_000,
      residentBytes: resident(),
      heapBytes: heapUsed,
      externalBytes: external,
      descriptors: descriptors(),
      resources: process.getActiveResourcesInfo().filter((name) => !passing(name)).length,
      loopDelayMs: this.#delay.percentile(99) / 1e6,
    }
    this.#delay.reset()
    this.list.push(sample)
    return sample
  }

  /** Stops watching the event loop. */
  close(): void {
    this.#delay.disable()
  }
}

/** Open descriptors of this process. */
export function descriptors(): number {
  return process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0
}

function resident(): number {
  if (process.platform !== 'linux') return process.memoryUsage().rss
  const found = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))
  return Number(found?.[1]) * 1024
}

/** Requests to the thread pool and turns of the loop end by themselves. */
function passing(name: string): boolean {
  return name === 'Immediate' || name.endsWith('Req') || name.endsWith('ReqPromise')
}
