import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { loadXxhash } from '../../src/hash/xxhash.ts'
import type { Lease } from '../../src/storage/descriptors.ts'
import { DiskSlot } from '../../src/storage/disk-slot.ts'
import { OpenFile, writeFlags } from '../../src/storage/open-file.ts'
import { pieceSums } from '../../src/storage/piece-sum.ts'
import { SlabPool } from '../../src/storage/slabs.ts'
import type { Piece } from '../../src/task/piece.ts'
import { type Deferred, deferred } from '../../src/util/deferred.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { code, digestOf, fill, never } from './filling.ts'

const slabBytes = 1000
const content = new Content(100_000)
const piece: Piece = { number: 3, offset: 300, length: 10_500 }

interface Write {
  readonly bytes: Uint8Array
  readonly position: number
  readonly done: Deferred<void>
}

interface Scene {
  readonly pool: SlabPool
  readonly slot: DiskSlot
  /** Writes that have not ended. */
  readonly writes: Write[]
  readonly events: string[]
}

/** A slot whose writes end when the test says so. */
async function scene(count: number): Promise<Scene> {
  const pool = new SlabPool({ count, slabBytes })
  const writes: Write[] = []
  const events: string[] = []
  const file = {
    write: (bytes: Uint8Array, position: number) => {
      const done = deferred<void>()
      writes.push({ bytes, position, done })
      return done.promise
    },
  } as unknown as OpenFile
  const lease: Lease = { file, release: () => void events.push('released') }
  const { create64 } = await loadXxhash()
  const slot = new DiskSlot({}, piece, {
    sum: pieceSums(false, create64)(),
    pool,
    slab: await pool.take(never),
    lease,
    onEnd: () => void events.push('ended'),
  })
  return { pool, slot, writes, events }
}

/** Fills until there is no space; the count. */
function fillOn(slot: DiskSlot): number {
  const before = slot.filled
  for (let space = slot.space(); space !== undefined && space.length > 0; space = slot.space()) {
    content.fill(space, piece.offset + slot.filled)
    slot.fill(space.length)
  }
  return slot.filled - before
}

async function turn(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve))
}

test('DiskSlot takes three slabs at most, and only those that lie free', async () => {
  for (const [count, most] of [
    [1, 1],
    [2, 2],
    [3, 3],
    [9, 3],
  ] as const) {
    const { pool, slot, writes } = await scene(count)
    assert.equal(fillOn(slot), most * slabBytes)
    assert.ok(pool.taken <= most)
    assert.equal(slot.space(), undefined)
    let drained = false
    const waiting = slot.drained().then(() => {
      drained = true
    })
    await turn()
    assert.equal(drained, false)
    writes.shift()?.done.resolve()
    await waiting
    assert.equal(fillOn(slot), slabBytes)
    slot.release()
    for (const { done } of writes) done.resolve()
    await turn()
    assert.equal(pool.taken, 0)
  }
})

test('DiskSlot takes no second slab while somebody waits for a first', async () => {
  const { pool, slot, writes } = await scene(2)
  const other = await pool.take(never)
  const waiting = pool.take(never)
  pool.give(other)
  assert.equal(await waiting, other)
  const next = pool.take(never)
  assert.equal(fillOn(slot), slabBytes)
  pool.give(other)
  assert.equal(await next, other)
  assert.equal(slot.space(), undefined)
  writes.shift()?.done.resolve()
  await slot.drained()
  assert.equal(fillOn(slot), slabBytes)
  slot.release()
  for (const { done } of writes) done.resolve()
})

test('DiskSlot.finish() waits for the last write, and its writes are the piece', async () => {
  const { pool, slot, writes, events } = await scene(4)
  const file = new Uint8Array(piece.length)
  let done = false
  let finishing: Promise<string> | undefined
  while (finishing === undefined || writes.length > 0) {
    fillOn(slot)
    if (slot.filled === piece.length) {
      finishing ??= slot.finish().finally(() => {
        done = true
      })
    }
    await turn()
    assert.equal(done, false)
    // Writes may end in any order.
    const write = writes.pop()
    if (write === undefined) continue
    file.set(write.bytes, write.position - piece.offset)
    write.done.resolve()
    await turn()
  }
  assert.equal(await finishing, digestOf(content, piece))
  assert.equal(content.difference(file, piece.offset), undefined)
  assert.equal(slot.sum.xxh64, (await loadXxhash()).h64(file))
  assert.deepEqual(events, [])
  slot.release()
  assert.deepEqual(events, ['released', 'ended'])
  assert.equal(pool.taken, 0)
})

test('DiskSlot.release() gives slabs and the piece back only when no write can arrive any more', async () => {
  const { pool, slot, writes, events } = await scene(2)
  fillOn(slot)
  const drained = assert.rejects(slot.drained(), code('CLOSED'))
  slot.release()
  await drained
  assert.equal(writes.length, 2)
  assert.deepEqual(events, [])
  assert.ok(pool.taken >= 2)
  writes[1]?.done.resolve()
  await turn()
  assert.deepEqual(events, [])
  writes[0]?.done.resolve()
  await turn()
  assert.deepEqual(events, ['released', 'ended'])
  assert.equal(pool.taken, 0)
})

test('DiskSlot tells of a write that failed, wherever it is asked', async () => {
  const { pool, slot, writes, events } = await scene(2)
  fillOn(slot)
  const error = new PeerError('NO_SPACE', 'Full', { path: 'p', needed: 1 })
  const drained = assert.rejects(slot.drained(), (found) => found === error)
  writes[0]?.done.reject(error)
  await drained
  assert.equal(slot.space(), undefined)
  await assert.rejects(slot.drained(), (found) => found === error)
  slot.release()
  writes[1]?.done.resolve()
  await turn()
  assert.deepEqual(events, ['released', 'ended'])
  assert.equal(pool.taken, 0)
})

test('DiskSlot.rewind() waits for what is on its way, and the piece is what comes after it', async () => {
  const { pool, slot, writes, events } = await scene(2)
  const file = new Uint8Array(piece.length)
  const space = slot.space()
  space?.fill(0xee)
  slot.fill(space?.length ?? 0)
  slot.space()?.fill(0xee)
  slot.fill(300)
  assert.equal(writes.length, 1)
  let rewound = false
  const rewinding = slot.rewind().then(() => {
    rewound = true
  })
  await turn()
  assert.equal(rewound, false)
  const late = writes.pop()
  file.set(late?.bytes ?? new Uint8Array(0), 0)
  late?.done.resolve()
  await rewinding
  assert.equal(slot.filled, 0)
  let finishing: Promise<string> | undefined
  while (finishing === undefined || writes.length > 0) {
    fillOn(slot)
    if (slot.filled === piece.length) finishing ??= slot.finish()
    const write = writes.pop()
    if (write === undefined) continue
    file.set(write.bytes, write.position - piece.offset)
    write.done.resolve()
    await turn()
  }
  assert.equal(await finishing, digestOf(content, piece))
  assert.equal(content.difference(file, piece.offset), undefined)
  assert.equal(slot.sum.xxh64, (await loadXxhash()).h64(file))
  await assert.rejects(slot.rewind(), RangeError)
  slot.release()
  assert.deepEqual(events, ['released', 'ended'])
  assert.equal(pool.taken, 0)
})

test('DiskSlot.rewind() fails with a write that failed, and when it is released meanwhile', async () => {
  const failed = await scene(2)
  fillOn(failed.slot)
  const error = new PeerError('NO_SPACE', 'Full', { path: 'p', needed: 1 })
  const rewinding = assert.rejects(failed.slot.rewind(), (found) => found === error)
  for (const { done } of failed.writes) done.reject(error)
  await rewinding
  failed.slot.release()
  const gone = await scene(2)
  fillOn(gone.slot)
  const late = assert.rejects(gone.slot.rewind(), code('CLOSED'))
  gone.slot.release()
  for (const { done } of gone.writes) done.resolve()
  await late
  assert.equal(gone.pool.taken, 0)
})

test('DiskSlot fills its place in a file and nothing else', async (t) => {
  const path = join(tempFolder(t), 'file')
  writeFileSync(path, new Uint8Array(20_000).fill(7))
  const file = await OpenFile.open(path, writeFlags)
  cleanup(t, () => file.close())
  const pool = new SlabPool({ count: 2, slabBytes })
  const { create64 } = await loadXxhash()
  const slot = new DiskSlot({}, piece, {
    sum: pieceSums(false, create64)(),
    pool,
    slab: await pool.take(never),
    lease: { file, release: () => undefined },
    onEnd: () => undefined,
  })
  await fill(slot, content, 333)
  await slot.finish()
  slot.release()
  const bytes = readFileSync(path)
  const end = piece.offset + piece.length
  assert.equal(content.difference(bytes.subarray(piece.offset, end), piece.offset), undefined)
  assert.ok([...bytes.subarray(0, piece.offset), ...bytes.subarray(end)].every((at) => at === 7))
})
