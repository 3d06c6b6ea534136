import type { Played } from './play.ts'

/** The line that plays one swarm again. */
export function replayLine(seed: number): string {
  return `npm run test:sim -- --seed ${seed} --only --verbose`
}

/** Sums up many swarms. */
export class Tally {
  readonly #failures = new Map<string, number>()
  swarms = 0
  broken = 0
  #peers = 0
  #runs = 0
  #calm = 0
  #calmOrigin = 0
  #originMost = 0
  #originMostSeed = 0
  #recoveredMost = 0
  #recoveredMostSeed = 0
  #timersMost = 0
  #simulatedMs = 0

  add(played: Played): void {
    this.swarms++
    if (played.faults.length > 0) this.broken++
    this.#peers += played.peers
    this.#runs += played.runs
    this.#simulatedMs += played.endMs
    this.#timersMost = Math.max(this.#timersMost, played.timersMost)
    if (played.calm) {
      this.#calm++
      this.#calmOrigin += played.originRatio
    } else if (played.originRatio > this.#originMost) {
      this.#originMost = played.originRatio
      this.#originMostSeed = played.seed
    }
    if (played.recoveredMs > this.#recoveredMost) {
      this.#recoveredMost = played.recoveredMs
      this.#recoveredMostSeed = played.seed
    }
    for (const [code, count] of Object.entries(played.failures)) {
      this.#failures.set(code, (this.#failures.get(code) ?? 0) + count)
    }
  }

  /** What is worth knowing, a line each. */
  lines(): string[] {
    const failures = [...this.#failures].toSorted(([, one], [, other]) => other - one)
    const share = this.#calmOrigin / Math.max(1, this.#calm)
    return [
      `${this.#peers} peers, ${this.#runs} runs, ${Math.round(this.#simulatedMs / 3_600_000)} simulated hours`,
      `origin: ${share.toFixed(3)} times the content in ${this.#calm} calm swarms, at most ${this.#originMost.toFixed(1)} times in the others (seed ${this.#originMostSeed})`,
      `slowest recovery: ${Math.round(this.#recoveredMost / 1000)} s after the last trouble (seed ${this.#recoveredMostSeed}); most timers for a peer: ${Math.ceil(this.#timersMost)}`,
      `failures that were right: ${failures.map(([code, count]) => `${code} ${count}`).join(', ') || 'none'}`,
    ]
  }
}
