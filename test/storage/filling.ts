import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { crc32 } from '../../src/hash/crc32.ts'
import type { KeptTask, Spool, Store, TaskRecord } from '../../src/storage/store.ts'
import type { Piece } from '../../src/task/piece.ts'
import { pieceAt } from '../../src/task/piece.ts'
import type { OpenPiece, Slot } from '../../src/task/ports.ts'
import type { Content } from '../support/content.ts'

export const MiB: number = 1024 * 1024
/** Never fires. Dozens of calls listen at a time, which is what the tests are about. */
export const never: AbortSignal = new AbortController().signal
setMaxListeners(0, never)

/** A record with an id that follows from `name`. */
export function record(name = 'task', more: Partial<TaskRecord> = {}): TaskRecord {
  const id = createHash('sha256').update(name).digest('hex')
  return { id, kind: 'standard', createdAt: Date.now(), ...more }
}

/** Digest that a piece of the content has. */
export function digestOf(content: Content, piece: Piece): string {
  return `crc32:${crc32(content.bytes(piece.offset, piece.length))}`
}

/** Fills what is missing in the slot, `partBytes` at a time. */
export async function fill(
  slot: Slot,
  content: Content,
  partBytes: number = 64 * 1024,
): Promise<void> {
  for (;;) {
    const space = slot.space()
    if (space === undefined) {
      await slot.drained()
      continue
    }
    if (space.length === 0) return
    const part = space.subarray(0, partBytes)
    content.fill(part, slot.piece.offset + slot.filled)
    slot.fill(part.length)
  }
}

/** Fills and commits one piece. */
export async function keep(
  task: KeptTask,
  content: Content,
  number: number,
  parentId = '',
): Promise<void> {
  const slot = await task.slot(number, never)
  await fill(slot, content)
  await task.commit(slot, { digest: await slot.finish(), parentId })
}

/** Keeps all pieces that are missing. */
export async function keepAll(task: KeptTask, content: Content): Promise<void> {
  for (let number = 0; number < task.geometry.pieceCount; number++) {
    if (!task.has(number)) await keep(task, content, number)
  }
}

/** The bytes of a piece by way of `read()`, in parts of an odd length. */
export async function bytesOf(open: OpenPiece, partBytes = 300_007): Promise<Uint8Array> {
  const bytes = new Uint8Array(open.piece.length)
  for (let at = 0; at < bytes.length; ) {
    const count = await open.read(bytes.subarray(at, at + partBytes), at)
    assert.ok(count > 0)
    at += count
  }
  assert.equal(await open.read(new Uint8Array(1), bytes.length), 0)
  return bytes
}

/** Opens a piece, reads it, closes it. */
export async function readPiece(store: Store, task: KeptTask, number: number): Promise<Uint8Array> {
  const { id: taskId, kind } = task.record
  const open = await store.open({ taskId, kind, number }, never)
  try {
    assert.deepEqual(open.piece, pieceAt(task.geometry, number))
    assert.equal(open.digest, task.digestOf(number))
    return await bytesOf(open)
  } finally {
    open.close()
  }
}

/** Reads all pieces and compares them with the content. */
export async function verifyTask(store: Store, task: KeptTask, content: Content): Promise<void> {
  for (let number = 0; number < task.geometry.pieceCount; number++) {
    const bytes = await readPiece(store, task, number)
    const { offset } = pieceAt(task.geometry, number)
    assert.equal(content.difference(bytes, offset), undefined, `Piece ${number} differs`)
  }
}

/** Writes content into a spool in chunks of an odd length, out of memory that is used again for each. */
export async function spoolAll(spool: Spool, content: Content, chunkBytes = 99_991): Promise<void> {
  const chunk = new Uint8Array(chunkBytes)
  for (let at = 0; at < content.length; ) {
    const count = content.fill(chunk, at)
    await spool.write(chunk.subarray(0, count))
    chunk.fill(0xee)
    at += count
  }
}

/** For `assert.rejects`: a PeerError with this code. */
export function code(name: string): { readonly code: string } {
  return { code: name }
}
