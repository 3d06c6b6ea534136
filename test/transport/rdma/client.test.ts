import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { PeerError } from '../../../src/errors.ts'
import { refused } from '../../../src/transport/parent-errors.ts'
import type { RdmaControl } from '../../../src/transport/rdma/control.ts'
import { deferred } from '../../../src/util/deferred.ts'
import { ManualClock } from '../manual-clock.ts'
import { never } from '../pair.ts'
import { PieceSlot, SlowSlot } from '../piece-slot.ts'
import { turns, until } from '../until.ts'
import { sceneOf, unlimited, unreachable } from './scene.ts'

const MiB = 1024 * 1024

describe('RdmaClient.read() over a connection that works', () => {
  it('registers nothing for a piece, and asks for many at once', async (test) => {
    const uploadRate = unlimited
    const scene = await sceneOf(test, {
      length: 64 * 5000,
      pieceLength: 5000,
      uploadRate,
      anyMemory: true,
    })
    const into = new Uint8Array(64 * 5000)
    const fetch = async (number: number): Promise<void> => {
      const asked = scene.request(number)
      const { offset, length } = asked.piece
      const slot = new PieceSlot(asked.piece, into.subarray(offset, offset + length))
      await scene.child.read(scene.address, asked, slot, never)
    }
    await fetch(40)
    const { registrations } = scene.native.stats()
    assert.equal(registrations, 2, 'one here and one there')
    await Promise.all(Array.from({ length: 64 }, (_, number) => fetch((number * 13) % 64)))
    assert.equal(scene.native.stats().registrations, registrations)
    assert.ok(scene.shelf.content.equals(into))
    await until('all is released', () => scene.shelf.openCount === 0)
    assert.ok(scene.asked('lease').length <= 6, scene.asked('lease').join('; '))
    assert.equal(scene.asked('exchange').length, 1)
    const read = scene.asked('release').flatMap((call) => call.slice(8).split(','))
    assert.equal(read.filter((number) => number !== '').length, 65)
  })

  it('reads through slabs into other memory, which are registered once', async (test) => {
    const scene = await sceneOf(test, { length: 20 * MiB, pieceLength: 4 * MiB, where: 'disk' })
    await scene.fetch(0)
    const { registrations } = scene.native.stats()
    for (let number = 1; number < 5; number++) await scene.fetch(number)
    assert.equal(scene.native.stats().registrations, registrations)
    await until('all is released', () => scene.shelf.openCount === 0)
  })

  it('tells the slot of each part as it comes', async (test) => {
    const scene = await sceneOf(test, { length: 4 * MiB, pieceLength: 4 * MiB, anyMemory: true })
    const slot = new PieceSlot(scene.request(0).piece)
    const seen: number[] = []
    scene.native.beforeRead = () => seen.push(slot.filled / MiB)
    await scene.child.read(scene.address, scene.request(0), slot, never)
    assert.deepEqual(seen, [0, 1, 2, 3])
  })

  it('renews a lease as long as it reads', async (test) => {
    const clock = new ManualClock()
    const scene = await sceneOf(test, {
      length: 8 * MiB,
      pieceLength: 8 * MiB,
      where: 'disk',
      clock,
    })
    const gate = deferred<void>()
    let slabs = 0
    const slot = new SlowSlot(scene.request(0).piece, MiB, () => ++slabs === 2)
    const drained = slot.drained.bind(slot)
    slot.drained = async () => {
      await gate.promise
      await drained()
    }
    const reading = scene.child.read(scene.address, scene.request(0), slot, never)
    await until('the slot is full', () => slot.filled === 2 * MiB)
    for (let second = 0; second < 25; second++) {
      clock.advance(1000)
      await turns(5)
    }
    assert.ok(scene.asked('renew').length >= 4)
    gate.resolve()
    await reading
    assert.equal(slot.filled, 8 * MiB)
  })

  it('gives up what it leased ahead and nobody takes', async (test) => {
    const clock = new ManualClock()
    const uploadRate = unlimited
    const scene = await sceneOf(test, {
      length: 9000,
      pieceLength: 1000,
      uploadRate,
      anyMemory: true,
      clock,
    })
    await scene.fetch(0)
    await scene.fetch(1)
    assert.equal(scene.shelf.openCount, 8)
    clock.advance(1000)
    await turns()
    assert.equal(scene.shelf.openCount, 8)
    clock.advance(1000)
    await until('they are given back', () => scene.shelf.openCount === 0)
    await scene.fetch(5)
  })

  it('replaces a connection that the parent does not know any more, in silence', async (test) => {
    const clock = new ManualClock()
    const scene = await sceneOf(test, { length: 3000, pieceLength: 1000, clock })
    await scene.fetch(0)
    scene.native.killParents()
    clock.advance(100_000)
    await turns()
    await scene.fetch(1)
    assert.equal(scene.asked('exchange').length, 2)
  })

  it('closes a connection that nobody uses, and opens another one later', async (test) => {
    const clock = new ManualClock()
    const scene = await sceneOf(test, { length: 3000, pieceLength: 1000, clock })
    await scene.fetch(0)
    assert.equal(scene.native.stats().live.queuePairs, 2)
    clock.advance(30_000)
    await turns()
    clock.advance(30_000)
    await until('the own one is freed', () => scene.native.stats().live.queuePairs === 1)
    clock.advance(90_000)
    await until('so is the parent’s', () => scene.native.stats().live.queuePairs === 0)
    await scene.fetch(1)
  })
})

describe('RdmaClient.read() when it fails', () => {
  it('leaves a parent that does not answer within the stall time, and tries again later', async (test) => {
    const clock = new ManualClock()
    const scene = await sceneOf(test, { length: 2000, pieceLength: 1000, clock })
    for (const [waitMs, before] of [
      [1000, 0],
      [2000, 1000],
      [4000, 3000],
    ] as const) {
      assert.equal(clock.now() >= before, true)
      scene.native.stalled = true
      const failing = Promise.all(
        [0, 1].map((number) => assert.rejects(scene.fetch(number), unreachable(/No read ended/))),
      )
      await until('they are on their way', () => scene.native.onTheirWay === 2)
      clock.advance(1499)
      await turns()
      assert.equal(scene.native.onTheirWay, 2)
      clock.advance(1)
      await failing
      assert.equal(scene.native.onTheirWay, 0)
      assert.equal(scene.child.reaches(scene.address), false)
      clock.advance(waitMs - 1)
      assert.equal(scene.child.reaches(scene.address), false)
      clock.advance(1)
      assert.equal(scene.child.reaches(scene.address), true)
      scene.native.resume()
    }
    await scene.fetch(0)
    scene.native.statuses.push(12)
    await assert.rejects(scene.fetch(1), unreachable(/status 12/))
    clock.advance(1000)
    assert.equal(scene.child.reaches(scene.address), true, 'a piece that came forgives all')
  })

  for (const [status, words] of [
    [10, /remote access error/],
    [12, /retries exceeded/],
    [99, /status 99 \(unknown\)/],
  ] as const) {
    it(`says that a read ended with status ${status}, for all pieces of the connection`, async (test) => {
      const scene = await sceneOf(test, { length: 40 * MiB, pieceLength: 8 * MiB, anyMemory: true })
      const slots = [0, 1, 2].map((number) => new PieceSlot(scene.request(number).piece))
      scene.native.statuses.push(0, 0, status)
      const reads = slots.map((slot, number) =>
        assert.rejects(
          scene.child.read(scene.address, scene.request(number), slot, never),
          unreachable(words),
        ),
      )
      await Promise.all(reads)
      const copies = slots.map(({ bytes }) => Buffer.from(bytes))
      for (const { bytes } of slots) bytes.fill(7)
      await turns()
      assert.ok(slots.every(({ bytes }) => bytes.every((byte) => byte === 7)))
      assert.equal(copies.length, 3)
      await until('the parent has closed the pieces', () => scene.shelf.openCount === 0)
    })
  }

  it('rejects an aborted read only after everything in flight has ended', async (test) => {
    const scene = await sceneOf(test, { length: 8 * MiB, pieceLength: 4 * MiB, anyMemory: true })
    scene.native.stalled = true
    const slot = new PieceSlot(scene.request(0).piece)
    const abort = new AbortController()
    let over = false
    const reading = scene.child.read(scene.address, scene.request(0), slot, abort.signal)
    const failing = assert
      .rejects(reading, (error) => error === 'enough')
      .then(() => {
        over = true
      })
    await until('it is on its way', () => scene.native.onTheirWay === 4)
    abort.abort('enough')
    await turns()
    assert.equal(over, false)
    scene.native.resume()
    await failing
    assert.equal(scene.native.onTheirWay, 0)
    assert.equal(slot.filled, 0)
    await scene.fetch(1)
    assert.equal(scene.asked('exchange').length, 1, 'the connection lives')
  })

  it('destroy() ends what is on its way at once', async (test) => {
    const scene = await sceneOf(test, { length: 4 * MiB, pieceLength: 4 * MiB, anyMemory: true })
    scene.native.stalled = true
    const failing = assert.rejects(scene.fetch(0), (error) => error === 'enough')
    await until('it is on its way', () => scene.native.onTheirWay === 4)
    scene.child.destroy('enough')
    await failing
    assert.equal(scene.native.onTheirWay, 0)
    await scene.child.close()
    assert.equal(scene.native.stats().live.contexts, 1, 'that of the parent')
  })

  it('says that too little memory may be locked', async (test) => {
    const scene = await sceneOf(test)
    scene.native.registerErrno = 12
    await assert.rejects(scene.fetch(0), unreachable(/ulimit -l/))
    scene.native.registerErrno = undefined
    await scene.fetch(0)
  })
})

describe('RdmaClient.read() when the parent says no', () => {
  const instead =
    (change: Partial<RdmaControl>) =>
    (control: RdmaControl): RdmaControl => ({ ...control, ...change })

  it('does not ask a parent without RDMA again for long', async (test) => {
    const clock = new ManualClock()
    const wrap = instead({ offer: () => Promise.reject(refused('parent-1', 'No such service')) })
    const scene = await sceneOf(test, { clock, wrap })
    await assert.rejects(scene.fetch(0), unreachable(/It has no RDMA/))
    clock.advance(3_599_999)
    assert.equal(scene.child.reaches(scene.address), false)
    clock.advance(1)
    assert.equal(scene.child.reaches(scene.address), true)
    assert.equal(scene.native.stats().live.queuePairs, 0)
  })

  it('goes another way for a piece that the parent has no room for, and stays connected', async (test) => {
    let full = true
    const scene = await sceneOf(test, {
      wrap: (control) => ({
        ...control,
        lease: (...asked) =>
          full
            ? Promise.reject(
                new PeerError('LIMIT_REACHED', 'No room', { limit: 'parent', value: 0 }),
              )
            : control.lease(...asked),
      }),
    })
    await assert.rejects(scene.fetch(0), unreachable(/No room/))
    assert.equal(scene.child.reaches(scene.address), true)
    full = false
    await scene.fetch(0)
    assert.equal(scene.asked('exchange').length, 1)
  })

  for (const [what, change] of [
    ['a false MTU', { offer: () => Promise.resolve({ mtu: 1500, readsMax: 16 }) }],
    ['no reads', { offer: () => Promise.resolve({ mtu: 4096, readsMax: 0 }) }],
    [
      'a gid of another length',
      { exchange: () => Promise.resolve({ num: 5, lid: 0, gid: new Uint8Array(4) }) },
    ],
    [
      'a number of 32 bits',
      {
        exchange: () => Promise.resolve({ num: 2 ** 31, lid: 0, gid: new Uint8Array(16).fill(1) }),
      },
    ],
  ] as const) {
    it(`refuses ${what}, and leaves the parent alone for a time`, async (test) => {
      const scene = await sceneOf(test, { wrap: instead(change) })
      await assert.rejects(scene.fetch(0), (error) => PeerError.is(error, 'PARENT_PROTOCOL'))
      assert.equal(scene.child.reaches(scene.address), false)
      await until('nothing is left', () => scene.native.stats().live.queuePairs <= 1)
    })
  }

  for (const [what, change] of [
    ['another number', { number: 1 }],
    ['another offset', { offset: 1000 }],
    ['another length', { length: 999 }],
    ['no address', { address: 0n }],
    ['an address past the end', { address: (1n << 64n) - 1n }],
    ['a key of 33 bits', { key: 2 ** 32 }],
  ] as const) {
    it(`refuses a lease with ${what}, and reads nothing`, async (test) => {
      const scene = await sceneOf(test, {
        wrap: (control) => ({
          ...control,
          lease: async (...asked) => {
            const lease = await control.lease(...asked)
            return { ...lease, pieces: lease.pieces.map((piece) => ({ ...piece, ...change })) }
          },
        }),
      })
      const slot = new PieceSlot(scene.request(0).piece)
      await assert.rejects(
        scene.child.read(scene.address, scene.request(0), slot, never),
        (error) => PeerError.is(error, 'PARENT_PROTOCOL'),
      )
      assert.equal(slot.filled, 0)
      assert.equal(scene.native.stats().readsPosted, 0)
    })
  }

  for (const [what, change] of [
    ['a false address', { address: 1n }],
    ['a false key', { key: 1 }],
  ] as const) {
    it(`is told by the card of ${what}`, async (test) => {
      const scene = await sceneOf(test, {
        wrap: (control) => ({
          ...control,
          lease: async (...asked) => {
            const lease = await control.lease(...asked)
            return { ...lease, pieces: lease.pieces.map((piece) => ({ ...piece, ...change })) }
          },
        }),
      })
      await assert.rejects(scene.fetch(0), unreachable(/status 10/))
    })
  }
})
