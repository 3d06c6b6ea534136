import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cleanup, type Ending } from './cleanup.ts'

/** A new empty folder that is removed with all content when the test ends. */
export function tempFolder(t: Ending): string {
  const folder = mkdtempSync(join(tmpdir(), 'dragonfly-peer-test-'))
  cleanup(t, () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))
  return folder
}
