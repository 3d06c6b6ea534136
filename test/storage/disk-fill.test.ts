import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { loadXxhash } from '../../src/hash/xxhash.ts'
import { DiskSlot } from '../../src/storage/disk-slot.ts'
import { OpenFile, writeFlags } from '../../src/storage/open-file.ts'
import { pieceSums } from '../../src/storage/piece-sum.ts'
import { SlabPool } from '../../src/storage/slabs.ts'
import type { Piece } from '../../src/task/piece.ts'
import { loadFlow } from '../../src/util/flow.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { fdOf, socketPair } from '../support/socket-pair.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { digestOf, never } from './filling.ts'

const slabBytes = 20_000
const content = new Content(1_000_000)
const piece: Piece = { number: 1, offset: 300_000, length: 600_000 }

if (loadFlow() !== undefined) {
  test('DiskSlot.fillFrom() goes on where space() ended, and the other way round, with the same digests', async (t) => {
    const path = join(tempFolder(t), 'file')
    const pool = new SlabPool({ count: 4, slabBytes })
    const { create64 } = await loadXxhash()
    const whole = pieceSums(false, create64)()
    whole.add(content.bytes(piece.offset, piece.length))
    const part = fc.integer({ min: 1, max: 200_000 })
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(part, fc.boolean())), async (parts) => {
        writeFileSync(path, new Uint8Array(content.length).fill(7))
        const { slot, file } = await slotOf(t, path, pool)
        for (const [length, past] of [...parts, [piece.length, true] as const]) {
          const wanted = Math.min(length, piece.length - slot.filled)
          if (past) {
            const { left, right } = await socketPair(t)
            left.end(content.bytes(piece.offset + slot.filled, wanted))
            let count = -1
            while (count !== 0 && slot.filled < piece.length) {
              count = (await slot.fillFrom?.(fdOf(right), never)) ?? assert.fail()
            }
            right.destroy()
          } else {
            await fillPart(slot, wanted)
          }
        }
        assert.equal(await slot.finish(), digestOf(content, piece))
        assert.equal(slot.sum.xxh64, whole.xxh64)
        slot.release()
        await file.close()
        const bytes = readFileSync(path)
        const end = piece.offset + piece.length
        assert.equal(content.difference(bytes.subarray(piece.offset, end), piece.offset), undefined)
        const around = [bytes.subarray(0, piece.offset), bytes.subarray(end)]
        assert.ok(around.every((each) => each.every((byte) => byte === 7)))
        assert.equal(pool.taken, 0)
      }),
      { numRuns: 40 },
    )
  })

  test('DiskSlot.fillFrom() leaves what lies in a slab to the addon, and keeps it there when nothing begins', async (t) => {
    const path = join(tempFolder(t), 'file')
    writeFileSync(path, '')
    const { slot, file } = await slotOf(t, path, new SlabPool({ count: 1, slabBytes }))
    file.write = async () => assert.fail('There is a write')
    await fillPart(slot, 1000)
    assert.equal(await slot.fillFrom?.(2 ** 30, never), 0)
    assert.equal(slot.filled, 1000)
    const { left, right } = await socketPair(t)
    left.end(content.bytes(piece.offset + 1000, piece.length - 1000))
    while (slot.filled < piece.length) await slot.fillFrom?.(fdOf(right), never)
    assert.equal(await slot.finish(), digestOf(content, piece))
    const bytes = readFileSync(path).subarray(piece.offset)
    assert.equal(content.difference(bytes, piece.offset), undefined)
    slot.release()
  })

  test('DiskSlot.fillFrom() throws the reason of its signal, also one that looks like the failure of a file', async (t) => {
    const path = join(tempFolder(t), 'file')
    writeFileSync(path, '')
    const { slot } = await slotOf(t, path, new SlabPool({ count: 1, slabBytes }))
    const { right } = await socketPair(t)
    for (const code of ['ECONNRESET', 'OTHER']) {
      const stop = new AbortController()
      const reason = Object.assign(new Error('reset', { cause: new Error('deeper') }), { code })
      const filling = slot.fillFrom?.(fdOf(right), stop.signal)
      stop.abort(reason)
      await assert.rejects(filling ?? assert.fail(), (error) => error === reason)
      await slot.rewind()
    }
    await fillPart(slot, piece.length)
    assert.equal(await slot.finish(), digestOf(content, piece))
    slot.release()
  })
}

/** A slot for the piece in the file at `path`, filled by the addon where it can be. */
async function slotOf(
  t: TestContext,
  path: string,
  pool: SlabPool,
): Promise<{ readonly slot: DiskSlot; readonly file: OpenFile }> {
  const file = await OpenFile.open(path, writeFlags)
  cleanup(t, async () => file.close())
  const { create64 } = await loadXxhash()
  const slot = new DiskSlot({}, piece, {
    sum: pieceSums(true, create64)(),
    pool,
    slab: await pool.take(never),
    lease: { file, release: () => undefined },
    onEnd: () => undefined,
  })
  return { slot, file }
}

async function fillPart(slot: DiskSlot, length: number): Promise<void> {
  for (let left = length; left > 0; ) {
    const space = slot.space()
    if (space === undefined) {
      await slot.drained()
      continue
    }
    const part = space.subarray(0, left)
    content.fill(part, piece.offset + slot.filled)
    slot.fill(part.length)
    left -= part.length
  }
}
