import { setImmediate } from 'node:timers/promises'

/** Waits, turn by turn of the event loop, until a fact holds; fails when it does not within 30 s. */
export async function gate(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 30_000
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error('What was waited for did not come')
    await setImmediate()
  }
}
