import { setImmediate } from 'node:timers/promises'

/** Waits, turn by turn of the event loop, until a fact holds. The test's own time limit ends it otherwise. */
export async function gate(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await setImmediate()
}
