import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PeerError } from '../../../src/errors.ts'
import { tcp } from '../../../src/transport/tcp/tcp.ts'
import { never, pairOf } from '../pair.ts'
import { PieceShelf } from '../piece-shelf.ts'
import { PieceSlot } from '../piece-slot.ts'

const MiB = 1024 * 1024

for (const when of ['in the middle', 'before its last part']) {
  test(`A parent hangs up when the memory of a piece is transferred to a worker ${when}`, async (t) => {
    const shelf = new PieceShelf(Buffer.from(new Uint8Array(2 * MiB)), 2 * MiB)
    let taken = 0
    const take = async (byteLength: number): Promise<void> => {
      taken += byteLength
      if (taken < (when === 'in the middle' ? MiB : 2 * MiB)) return
      const buffer = shelf.content.buffer as ArrayBuffer
      if (buffer.byteLength > 0) structuredClone(buffer, { transfer: [buffer] })
    }
    const { child, address, request } = await pairOf(t, () => tcp(), shelf, {
      uploadRate: { take },
    })
    const asked = request(0)
    const begun = performance.now()
    const reading = child.read(address, asked, new PieceSlot(asked.piece), never)
    await assert.rejects(reading, (error) => PeerError.is(error, 'PARENT_UNREACHABLE'))
    // It is told, and need not find out by the silence.
    assert.ok(performance.now() - begun < 5000)
  })
}
