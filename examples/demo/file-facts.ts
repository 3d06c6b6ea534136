import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import type { FileFacts } from './messages.ts'

/** Reads a file from its beginning to its end. */
export async function fileFacts(path: string): Promise<FileFacts> {
  const hash = createHash('sha256')
  let length = 0
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    hash.update(chunk as Buffer)
    length += (chunk as Buffer).length
  }
  return { length, sha256: hash.digest('hex') }
}
