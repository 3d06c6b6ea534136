import type { HostFacts } from '../../rpc/convert-host.ts'

/**
 * How long any host may be silent, in milliseconds. A real daemon measures its processor, network and disk for four and a half seconds before each
 * announcement, whatever interval it names: with one of a second it would be dropped while it downloads.
 */
export const silenceMsMin = 20_000

/** One peer process, as it announced itself. `Registry` changes it, everybody else looks. */
export class HostRecord {
  readonly id: string
  /** What it said last. */
  facts: HostFacts
  /** How often it says something; undefined for one that never expires. */
  intervalMs: number | undefined
  heardMs: number

  constructor(facts: HostFacts, intervalMs: number | undefined, nowMs: number) {
    this.id = facts.id
    this.facts = facts
    this.intervalMs = intervalMs
    this.heardMs = nowMs
  }

  get disableShared(): boolean {
    return this.facts.disableShared
  }

  get own(): boolean {
    return this.facts.own
  }

  get idc(): string | undefined {
    return this.facts.idc
  }

  get location(): string | undefined {
    return this.facts.location
  }

  /** Fetches tasks from their origin when a scheduler asks. */
  get isSeed(): boolean {
    return this.facts.type === 1
  }

  /** Silent for two intervals, and not only for a moment. */
  isLost(nowMs: number): boolean {
    if (this.intervalMs === undefined) return false
    return nowMs - this.heardMs > Math.max(2 * this.intervalMs, silenceMsMin)
  }
}
