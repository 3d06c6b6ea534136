import { execFileSync } from 'node:child_process'
import type { TestContext } from 'node:test'
import { cleanup } from '../support/cleanup.ts'
import { tempFolder } from '../support/temp-folder.ts'

/** A file system of its own with this many bytes, or undefined after `t.skip()` where mounting is not permitted. */
export function tmpfs(t: TestContext, bytes: number): string | undefined {
  const folder = tempFolder(t)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder], {
      stdio: 'ignore',
    })
  } catch (error) {
    t.skip(`mount is not permitted here: ${String(error)}`)
    return undefined
  }
  cleanup(t, () => {
    execFileSync('umount', [folder])
  })
  return folder
}
