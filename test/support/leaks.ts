import { readdirSync, readlinkSync } from 'node:fs'
import { loadFlow } from '../../src/util/flow.ts'
import { cleanup, type Ending } from './cleanup.ts'

/**
 * Call it first in a test: at the end of the test, after everything acquired through this folder was released, nothing may be open that was not open
 * now.
 *
 * Two lists are compared. `process.getActiveResourcesInfo()` names what keeps the process alive: sockets, servers, timers. On Linux
 * `/proc/self/fd` adds what it does not know of: files, `unref`ed sockets, and threads, each of which has an event descriptor of its own.
 * `settleMs` is how long a handle may take to close after it was asked to.
 */
export function leaks(t: Ending, settleMs = 2000): void {
  // The addon has two descriptors from the first time that anything loads it, and keeps them.
  loadFlow()
  const before = openNow()
  cleanup(t, async () => {
    const deadline = performance.now() + settleMs
    let open = newSince(before)
    while (open.length > 0 && performance.now() < deadline) {
      await new Promise<void>((resolve) => setImmediate(resolve))
      open = newSince(before)
    }
    if (open.length > 0) throw new Error(`Still open at the end of the test: ${open.join(', ')}`)
  })
}

function newSince(before: ReadonlyMap<string, number>): string[] {
  const open: string[] = []
  for (const [name, count] of openNow()) {
    const more = count - (before.get(name) ?? 0)
    if (more > 0) open.push(more === 1 ? name : `${more} × ${name}`)
  }
  return open
}

function openNow(): Map<string, number> {
  const counts = new Map<string, number>()
  for (const name of [...process.getActiveResourcesInfo(), ...descriptors()]) {
    if (!passing(name)) counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  return counts
}

/** The loop in `leaks()` itself, and requests to the thread pool, which end by themselves and hold nothing afterwards. */
function passing(name: string): boolean {
  return name === 'Immediate' || name.endsWith('Req') || name.endsWith('ReqPromise')
}

function descriptors(): string[] {
  if (process.platform !== 'linux') return []
  const targets: string[] = []
  for (const descriptor of readdirSync('/proc/self/fd')) {
    try {
      targets.push(readlinkSync(`/proc/self/fd/${descriptor}`))
    } catch (error) {
      // The descriptor with which the folder was read is closed by now.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
  return targets
}
