/**
 * Requests that take back what was said of tasks that are gone, under way at once. Thousands of tasks may go in one moment, when memory is collected or a limit is
 * lowered; the scheduler answers others meanwhile.
 */
export const retractionsAtOnceMax: number = 16
/**
 * Tasks whose end waits to be told, at most: as many as an embedded scheduler knows. With one more the first is given up: the scheduler learns it from the
 * first child that finds nothing here. One costs about 150 bytes.
 */
export const retractionsWaitingMax: number = 65_536

/** Ends of tasks to be told, first come, first served. Ids only: nothing of a task that is gone is kept alive. */
export class Retractions {
  readonly #tell: (taskId: string) => Promise<void>
  readonly #waiting = new Set<string>()
  /** Goes on where it was: a set that lost its first ones is slow to begin with. */
  #order = this.#waiting.values()
  #underWay = 0

  /** @param tell - tells one; what it rejects with is nobody's to handle */
  constructor(tell: (taskId: string) => Promise<void>) {
    this.#tell = tell
  }

  /** Tells it when its turn comes. One that waits already keeps its place. */
  add(taskId: string): void {
    this.#waiting.add(taskId)
    if (this.#waiting.size > retractionsWaitingMax) this.#next()
    this.#advance()
  }

  /** Whether it waited; now it does not. */
  remove(taskId: string): boolean {
    return this.#waiting.delete(taskId)
  }

  /** Nobody is to be told any more. What is under way goes on. */
  clear(): void {
    this.#waiting.clear()
  }

  #advance(): void {
    while (this.#underWay < retractionsAtOnceMax) {
      const taskId = this.#next()
      if (taskId === undefined) return
      void this.#run(taskId)
    }
  }

  async #run(taskId: string): Promise<void> {
    this.#underWay++
    try {
      await this.#tell(taskId)
    } finally {
      this.#underWay--
      this.#advance()
    }
  }

  /** Takes out the first. */
  #next(): string | undefined {
    let next = this.#order.next()
    if (next.done === true) {
      // It has seen all there were; there may be others now.
      this.#order = this.#waiting.values()
      next = this.#order.next()
    }
    if (next.done === true) return undefined
    this.#waiting.delete(next.value)
    return next.value
  }
}
