import { after } from 'node:test'
import type { Ending } from '../../support/cleanup.ts'

/**
 * For what all tests of a file share: it ends after the last of them. Call it at the top of the file, and not in a `before()`, whose own `after()` runs when the hook
 * is over.
 */
export function fileEnding(): Ending {
  const releases: (() => Promise<void> | void)[] = []
  after(async () => {
    for (const release of releases) await release()
  })
  return { after: (release) => void releases.push(release) }
}
