import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { loadAddon } from '../../../src/transport/rdma/addon.ts'
import type { NativeRdma } from '../../../src/transport/rdma/native.ts'
import type { TransportFactory } from '../../../src/transport/transport.ts'
import { testTransport } from '../../contract/transport.ts'
import { hostOf, never, pairOf } from '../pair.ts'
import { contentOf, PieceShelf } from '../piece-shelf.ts'
import { PieceSlot } from '../piece-slot.ts'
import { until } from '../until.ts'
import { RdmaNetwork } from './network.ts'
import { unlimited, unreachable } from './scene.ts'
import { order, softLibrary } from './soft-device.ts'

const MiB = 1024 * 1024
const library = softLibrary()

function loaded(): NativeRdma {
  const addon = loadAddon()
  assert.ok('native' in addon, JSON.stringify(addon))
  return addon.native
}
const native = loaded()

const makeNetwork = (): (() => TransportFactory) => {
  const network = new RdmaNetwork(native, { library })
  return () => network.factory()
}
testTransport('rdma over softverbs', makeNetwork, 'pieces')

test('rdma over softverbs: reads registered memory in place, and registers nothing for a piece', async (t) => {
  const length = 16 * 4 * MiB
  const held = new Uint8Array(await prepared(length))
  held.set(contentOf(length))
  const shelf = new PieceShelf(Buffer.from(held.buffer), 4 * MiB)
  const pair = await pairOf(t, makeNetwork(), shelf, { uploadRate: unlimited })
  const into = await native.allocate(length)
  const fetch = async (number: number): Promise<void> => {
    const asked = pair.request(number)
    const place = new Uint8Array(into, asked.piece.offset, asked.piece.length)
    await pair.child.read(pair.address, asked, new PieceSlot(asked.piece, place), never)
  }
  await fetch(7)
  const { registrations } = native.stats()
  await Promise.all(Array.from({ length: 16 }, (_, number) => fetch(number)))
  assert.equal(native.stats().registrations, registrations)
  assert.ok(shelf.content.equals(new Uint8Array(into)))
  await until('all is released', () => shelf.openCount === 0)
})

test('rdma over softverbs: a read that stands still ends within the stall time, and nothing writes later', async (t) => {
  const shelf = new PieceShelf(contentOf(8 * MiB), 8 * MiB)
  const network = new RdmaNetwork(native, { library, stallTimeoutMs: 300 })
  const pair = await pairOf(t, () => network.factory(), shelf)
  const into = new Uint8Array(await prepared(8 * MiB))
  const slot = new PieceSlot(pair.request(0).piece, into)
  await order('hold 3')
  const began = performance.now()
  const failing = assert.rejects(
    pair.child.read(pair.address, pair.request(0), slot, never),
    unreachable(/No read ended within 300 ms/),
  )
  await failing
  const tookMs = performance.now() - began
  assert.ok(tookMs >= 300 && tookMs < 2000, `${tookMs} ms`)
  assert.ok(slot.filled > 0 && slot.filled < 8 * MiB, `${slot.filled} bytes`)
  into.fill(7)
  await order('go')
  await until('the parent has closed the piece', () => shelf.openCount === 0, 15_000)
  assert.ok(into.every((byte) => byte === 7))
})

test('rdma over softverbs: memory that nobody has in hand any more is given up', async (t) => {
  const shelf = new PieceShelf(contentOf(4 * MiB), 4 * MiB)
  const network = new RdmaNetwork(native, { library })
  const transport = network.transport()(hostOf(shelf))
  t.after(() => transport.close(0))
  await until('those of other tests are closed', () => native.stats().live.contexts === 0)
  await transport.listen()
  const before = native.stats().live
  const allocated = async (): Promise<number> => {
    const memory = await transport.allocate(4 * MiB, true)
    return memory?.byteLength ?? 0
  }
  assert.equal(await allocated(), 4 * MiB)
  assert.equal(native.stats().live.registrations, before.registrations + 1)
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  await until('it is gone', () => {
    collect()
    const { registrations, regions } = native.stats().live
    return registrations <= before.registrations && regions <= before.regions
  })
})

/** Memory of the addon, which needs an open library. */
async function prepared(length: number): Promise<ArrayBuffer> {
  native.load(library)
  return await native.allocate(length)
}
