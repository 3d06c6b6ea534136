import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { DirectSlot } from '../../src/storage/direct-slot.ts'
import { MemoryStore } from '../../src/storage/memory-store.ts'
import { OwnMemory } from '../../src/storage/own-memory.ts'
import { pieceSums } from '../../src/storage/piece-sum.ts'
import { geometry, type Piece } from '../../src/task/piece.ts'
import { output } from '../../src/task/output.ts'
import { loadFlow } from '../../src/util/flow.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { fdOf, socketPair } from '../support/socket-pair.ts'
import { digestOf, fill, keep, keepAll, MiB, never, record } from './filling.ts'

const content = new Content(3 * MiB)
const piece: Piece = { number: 1, offset: MiB, length: MiB }

interface Scene {
  readonly slot: DirectSlot
  readonly whose: OwnMemory
  readonly memory: Uint8Array
  /** How often the end was told of. */
  ends(): number
}

function scene(own = true, native = true): Scene {
  const memory = new Uint8Array(piece.length)
  const whose = new OwnMemory(own)
  let ends = 0
  const parts = { sum: pieceSums(native)(), memory, whose, onEnd: () => void (ends += 1) }
  return { slot: new DirectSlot({}, piece, parts), whose, memory, ends: () => ends }
}

test('DirectSlot reads no socket where the memory is not its own, or without the addon', () => {
  assert.equal(scene(false).slot.fillFrom, undefined)
  assert.equal(scene(true, false).slot.fillFrom, undefined)
  assert.equal(scene().slot.fillFrom !== undefined, loadFlow() !== undefined)
})

if (loadFlow() !== undefined) {
  test('DirectSlot.fillFrom() goes on where space() ended, and the other way round', async (t) => {
    const { left, right } = await socketPair(t)
    const { slot, memory } = scene()
    const part = piece.length / 4
    content.fill(slot.space()?.subarray(0, part) ?? assert.fail(), piece.offset)
    slot.fill(part)
    left.write(content.bytes(piece.offset + part, part))
    left.end()
    while (slot.filled < 2 * part) await fillFrom(slot, fdOf(right))
    // The end of what the socket gives.
    assert.equal(await fillFrom(slot, fdOf(right)), 0)
    await fill(slot, content)
    assert.equal(await slot.finish(), digestOf(content, piece))
    assert.equal(content.difference(memory, piece.offset), undefined)
  })

  test('DirectSlot.release() tells of its end when no thread writes to the memory any more', async (t) => {
    const { left, right } = await socketPair(t)
    const { slot, ends } = scene()
    const stop = new AbortController()
    const filling = fillFrom(slot, fdOf(right), stop.signal)
    slot.release()
    assert.equal(ends(), 0)
    stop.abort(new Error('enough'))
    await assert.rejects(filling, { message: 'enough' })
    assert.equal(ends(), 1)
    slot.release()
    await assert.rejects(fillFrom(slot, fdOf(right)), { code: 'CLOSED' })
    assert.equal(ends(), 1)
    left.end()
  })

  test('DirectSlot.rewind() waits for bytes that are on their way, and begins anew', async (t) => {
    const { left, right } = await socketPair(t)
    const { slot, memory } = scene()
    const stop = new AbortController()
    slot.space()?.fill(1, 0, 1000)
    slot.fill(1000)
    const filling = fillFrom(slot, fdOf(right), stop.signal).catch(() => 'ended')
    const order: string[] = []
    const rewound = slot.rewind().then(() => order.push('rewound'))
    void filling.then(() => order.push('ended'))
    stop.abort(new Error('another way'))
    await rewound
    assert.deepEqual(order, ['ended', 'rewound'])
    assert.equal(slot.filled, 0)
    left.write(content.bytes(piece.offset, piece.length))
    while (slot.filled < piece.length) await fillFrom(slot, fdOf(right))
    assert.equal(await slot.finish(), digestOf(content, piece))
    assert.equal(content.difference(memory, piece.offset), undefined)
  })

  test('OwnMemory.lend() waits for the threads, and what is missing comes another way', async (t) => {
    const { left, right } = await socketPair(t)
    const { slot, whose, memory } = scene()
    content.fill(slot.space()?.subarray(0, 5000) ?? assert.fail(), piece.offset)
    slot.fill(5000)
    const filling = fillFrom(slot, fdOf(right))
    await whose.lend()
    assert.equal(await filling, 0)
    assert.equal(whose.own, false)
    left.write('late')
    assert.equal(await fillFrom(slot, fdOf(right)), 0)
    assert.equal(slot.filled, 5000)
    await fill(slot, content)
    assert.equal(await slot.finish(), digestOf(content, piece))
    assert.equal(content.difference(memory, piece.offset), undefined)
    await whose.lend()
  })

  test('MemoryStore gives memory to threads until the application has a part of it', async (t) => {
    const store = opened(t)
    const cut = geometry(content.length, MiB)
    const task = await store.create(record(), cut)
    await keep(task, content, 0)
    const before = await task.slot(1, never)
    assert.ok(before.fillFrom !== undefined)
    const request = { shelf: store, taskId: task.record.id, kind: 'standard', cut } as const
    for await (const chunk of output({ ...request, range: { start: 0, length: 10 } }, never)) {
      assert.equal(chunk.length, 10)
    }
    const { left, right } = await socketPair(t)
    left.write('bytes')
    assert.equal(await before.fillFrom(fdOf(right), never), 0)
    before.release()
    const after = await task.slot(2, never)
    assert.equal(after.fillFrom, undefined)
    after.release()
  })

  test('MemoryStore keeps threads away from memory of the application, and from memory that it got', async (t) => {
    const store = opened(t)
    const cut = geometry(content.length, MiB)
    const memory = new Uint8Array(content.length)
    const task = await store.create(record('foreign'), cut, { memory })
    const slot = await task.slot(0, never)
    assert.equal(slot.fillFrom, undefined)
    slot.release()
    const own = await store.create(record('own'), cut)
    await keepAll(own, content)
    const seen = own.memory
    await own.lend()
    seen?.fill(0, 0, 100)
    const { id: taskId } = own.record
    await assert.rejects(store.open({ taskId, kind: 'standard', number: 0 }, never))
    const again = await own.slot(0, never)
    assert.equal(again.fillFrom, undefined)
    again.release()
  })
}

function opened(t: TestContext): MemoryStore {
  const store = new MemoryStore({ bytesMax: 64 * MiB })
  cleanup(t, () => store.close())
  return store
}

function fillFrom(slot: DirectSlot, socket: number, signal = never): Promise<number> {
  assert.ok(slot.fillFrom !== undefined)
  return slot.fillFrom(socket, signal)
}
