import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import type { Content } from './content.ts'

/** Fails unless the bytes are the content from `offset` on; says where they first differ. */
export function verifyBytes(bytes: Uint8Array, content: Content, offset = 0): void {
  const at = content.difference(bytes, offset)
  assert.equal(at, undefined, `Content differs at byte ${at} of ${content.length}`)
}

/** Fails unless the chunks, put together, are `length` bytes of the content from `offset` on. */
export async function verifyStream(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  content: Content,
  offset = 0,
  length: number = content.length - offset,
): Promise<void> {
  let received = 0
  for await (const chunk of chunks) {
    verifyBytes(chunk, content, offset + received)
    received += chunk.length
  }
  assert.equal(received, length, `Wanted ${length} bytes, got ${received}`)
}

/** Fails unless the file holds `length` bytes of the content from `offset` on, and nothing else. */
export async function verifyFile(
  path: string,
  content: Content,
  offset = 0,
  length: number = content.length - offset,
): Promise<void> {
  const file = await open(path)
  try {
    await verifyStream(
      file.createReadStream({ autoClose: false, highWaterMark: 1 << 20 }),
      content,
      offset,
      length,
    )
  } finally {
    await file.close()
  }
}

/** The SHA-256 of a file, in hexadecimal. */
export async function sha256OfFile(path: string): Promise<string> {
  const file = await open(path)
  try {
    const hash = createHash('sha256')
    for await (const chunk of file.createReadStream({ autoClose: false })) {
      hash.update(chunk as Buffer)
    }
    return hash.digest('hex')
  } finally {
    await file.close()
  }
}
