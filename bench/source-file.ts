import { closeSync, existsSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { Content } from '../test/support/content.ts'
import type { Settings } from './benchmark.ts'
import { mebibyte } from './statistics.ts'

/** A file with content of this length in the folder of the run, made once. It lies in the page cache, and on the disk too, so that writing it back does not fall into a measurement. */
export function sourceFile({ folder }: Settings, length: number): string {
  const path = join(folder, `source-${length}`)
  if (existsSync(path)) return path
  const file = openSync(path, 'w')
  try {
    for (const chunk of new Content(length).chunks(0, length, mebibyte)) writeSync(file, chunk)
    fdatasyncSync(file)
  } finally {
    closeSync(file)
  }
  return path
}
