import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import fc from 'fast-check'
import { PeerError } from '../../src/errors.ts'
import type { PieceRequest } from '../../src/task/ports.ts'
import type { TransportFactory } from '../../src/transport/transport.ts'
import { assertContent, never, type Pair, type PairOptions, pairOf } from '../transport/pair.ts'
import { contentOf, PieceShelf, taskId } from '../transport/piece-shelf.ts'
import { PieceSlot, SlowSlot } from '../transport/piece-slot.ts'
import { turns, until } from '../transport/until.ts'
import { testServing } from './transport-serving.ts'

const MiB = 1024 * 1024

/**
 * The suite that every transport passes. `makeNetwork` is called for each test; all factories that its result makes reach each other.
 *
 * @param paces - whether a rate is kept within a piece, or from piece to piece
 */
export function testTransport(
  name: string,
  makeNetwork: () => () => TransportFactory,
  paces: 'parts' | 'pieces' = 'parts',
): void {
  testServing(name, makeNetwork, paces)
  const pair = (test: TestContext, shelf: PieceShelf, options: PairOptions = {}): Promise<Pair> =>
    pairOf(test, makeNetwork(), shelf, options)

  describe(`${name}: Transport.read()`, () => {
    for (const length of [1, 4 * MiB - 1, 4 * MiB, 4 * MiB + 1, 16 * MiB]) {
      for (const where of ['memory', 'disk'] as const) {
        it(`is exact for ${length} bytes from ${where}`, async (test) => {
          const shelf = new PieceShelf(contentOf(length), length, where)
          const { fetch } = await pair(test, shelf)
          await fetch(0)
          await until('the piece is closed', () => shelf.openCount === 0)
        })
      }
    }

    it('reads pieces one after another', async (test) => {
      const shelf = new PieceShelf(contentOf(40 * 70_001 - 5), 70_001)
      const { fetch } = await pair(test, shelf)
      for (let number = 0; number < shelf.cut.pieceCount; number++) await fetch(number)
    })

    it('reads many pieces at once, from memory and disk', async (test) => {
      for (const where of ['memory', 'disk'] as const) {
        const shelf = new PieceShelf(contentOf(64 * 300_007), 300_007, where)
        const { fetch } = await pair(test, shelf, { uploadSlots: 5 })
        await Promise.all(Array.from({ length: 64 }, (_, number) => fetch(number)))
        await until('all pieces are closed', () => shelf.openCount === 0)
      }
    })

    it('carries every kind of task', async (test) => {
      const shelf = new PieceShelf(contentOf(10), 10)
      const { child, address, request } = await pair(test, shelf)
      for (const kind of ['standard', 'persistent', 'persistentCache'] as const) {
        const asked = request(0, kind)
        await child.read(address, asked, new PieceSlot(asked.piece), never)
      }
      assert.deepEqual(
        shelf.asked.map(({ kind }) => kind),
        ['standard', 'persistent', 'persistentCache'],
      )
    })

    it('reads from and into memory that is shared between threads', async (test) => {
      const shared = Buffer.from(new SharedArrayBuffer(MiB))
      contentOf(MiB).copy(shared)
      const { child, address, request } = await pair(test, new PieceShelf(shared, MiB))
      const asked = request(0)
      const slot = new PieceSlot(asked.piece, new Uint8Array(new SharedArrayBuffer(MiB)))
      const { digest } = await child.read(address, asked, slot, never)
      assert.equal(digest, await slot.finish())
      assert.ok(shared.equals(slot.bytes))
    })

    it('loses and misplaces nothing when the slot has no space now and then', async (test) => {
      const shelf = new PieceShelf(contentOf(3 * MiB + 11), 3 * MiB + 11)
      const { child, address, request } = await pair(test, shelf)
      const slabs = fc.integer({ min: 1000, max: 900_000 })
      const pauses = fc.array(fc.boolean(), { minLength: 1, maxLength: 9 })
      await fc.assert(
        fc.asyncProperty(slabs, pauses, async (slabLength, full) => {
          let turn = 0
          const slot = new SlowSlot(
            request(0).piece,
            slabLength,
            () => full[turn++ % full.length] === true,
          )
          await child.read(address, request(0), slot, never)
          assertContent(slot, shelf)
        }),
        { numRuns: 25 },
      )
    })

    it('waits for a slot that is full at every slab', async (test) => {
      const shelf = new PieceShelf(contentOf(MiB), MiB, 'disk')
      const { child, address, request } = await pair(test, shelf)
      const slot = new SlowSlot(request(0).piece, 50_000, () => true)
      await child.read(address, request(0), slot, never)
      assertContent(slot, shelf)
      assert.ok(slot.waits >= 20)
    })

    it('rejects with the error of the slot, and the next read works', async (test) => {
      const shelf = new PieceShelf(contentOf(MiB), MiB)
      const { child, address, request, fetch } = await pair(test, shelf)
      const slot = new SlowSlot(request(0).piece, 100_000, () => true)
      slot.failure = new PeerError('NO_SPACE', 'Full', { path: '/', needed: 1 })
      await assert.rejects(child.read(address, request(0), slot, never), slot.failure)
      slot.release()
      await fetch(0)
      await until('the piece is closed', () => shelf.openCount === 0)
    })

    it('refuses a slot that holds bytes already', async (test) => {
      const { child, address, request } = await pair(test, new PieceShelf(contentOf(9), 9))
      const slot = new PieceSlot(request(0).piece)
      slot.space()
      slot.fill(1)
      await assert.rejects(child.read(address, request(0), slot, never), RangeError)
    })

    it('waits for a piece that the parent is still fetching', async (test) => {
      const shelf = new PieceShelf(contentOf(100), 100)
      shelf.hold(0)
      const { fetch } = await pair(test, shelf)
      const fetched = fetch(0)
      await until('it was asked', () => shelf.asked.length === 1)
      shelf.arrive(0)
      await fetched
    })

    it('says PARENT_REFUSED when the parent has no such piece', async (test) => {
      const { child, address, fetch } = await pair(test, new PieceShelf(contentOf(9), 9))
      const piece = { number: 7, offset: 63, length: 9 }
      const asked: PieceRequest = { taskId, kind: 'standard', piece }
      await assert.rejects(child.read(address, asked, new PieceSlot(piece), never), (error) => {
        assert.ok(PeerError.is(error, 'PARENT_REFUSED'))
        assert.equal(error.details.parent, 'parent-1')
        assert.match(error.details.reason, /not found/)
        return true
      })
      await fetch(0)
    })

    it('says PARENT_REFUSED, and nothing about the machine, when the store fails', async (test) => {
      const shelf = new PieceShelf(contentOf(9), 9)
      shelf.failure = new PeerError('STORE_FAILED', 'Cannot read /secret/place', {
        path: '/secret/place',
        operation: 'read',
        errno: 'EIO',
      })
      const { fetch } = await pair(test, shelf)
      await assert.rejects(fetch(0), (error) => {
        assert.ok(PeerError.is(error, 'PARENT_REFUSED'))
        assert.doesNotMatch(error.message, /secret|EIO/)
        return true
      })
    })

    for (const [what, change] of [
      ['number', { number: 1 }],
      ['offset', { offset: 4096 }],
      ['length', { length: 999 }],
    ] as const) {
      it(`says PARENT_PROTOCOL when the parent sends another ${what}`, async (test) => {
        const shelf = new PieceShelf(contentOf(1000), 1000, 'disk')
        shelf.lie = (piece) => ({ ...piece, ...change })
        const { child, address, request } = await pair(test, shelf)
        const slot = new PieceSlot(request(0).piece)
        await assert.rejects(child.read(address, request(0), slot, never), (error) => {
          assert.ok(PeerError.is(error, 'PARENT_PROTOCOL'))
          assert.equal(error.details.what, `piece ${what}`)
          return true
        })
        assert.equal(slot.filled, 0)
        await until('the piece is closed', () => shelf.openCount === 0)
      })
    }

    it('says PARENT_UNREACHABLE when nobody is there', async (test) => {
      const { parent, fetch, address, child } = await pair(test, new PieceShelf(contentOf(9), 9))
      await parent.close()
      await assert.rejects(fetch(0), (error) => PeerError.is(error, 'PARENT_UNREACHABLE'))
      const nowhere = { parent: address.parent, endpoint: { ip: '127.0.0.1' } }
      assert.equal(child.reaches(nowhere), false)
      const asked: PieceRequest = {
        taskId,
        kind: 'standard',
        piece: { number: 0, offset: 0, length: 9 },
      }
      await assert.rejects(child.read(nowhere, asked, new PieceSlot(asked.piece), never), (error) =>
        PeerError.is(error, 'PARENT_UNREACHABLE'),
      )
    })

    it('says PARENT_UNREACHABLE when the parent breaks off', async (test) => {
      const shelf = new PieceShelf(contentOf(4 * MiB), 4 * MiB, 'disk')
      shelf.beforeRead = async (position) => {
        if (position > 3 * MiB) throw new Error('The disk is broken')
      }
      const { child, address, request } = await pair(test, shelf)
      const slot = new PieceSlot(request(0).piece)
      await assert.rejects(child.read(address, request(0), slot, never), (error) =>
        PeerError.is(error, 'PARENT_UNREACHABLE'),
      )
      assert.ok(slot.filled < 4 * MiB)
      await until('the piece is closed', () => shelf.openCount === 0)
    })
  })

  describe(`${name}: aborting a read`, () => {
    const reason = { any: 'value' }

    it('rejects with the reason when it was aborted before', async (test) => {
      const shelf = new PieceShelf(contentOf(9), 9)
      const { fetch } = await pair(test, shelf)
      await assert.rejects(fetch(0, AbortSignal.abort(reason)), (error) => error === reason)
      assert.equal(shelf.asked.length, 0)
    })

    it('frees the parent while it waits for the piece', async (test) => {
      const shelf = new PieceShelf(contentOf(9), 9)
      shelf.hold(0)
      const { parent, fetch } = await pair(test, shelf)
      const abort = new AbortController()
      const fetched = fetch(0, abort.signal)
      await until('it was asked', () => shelf.asked.length === 1)
      abort.abort(reason)
      await assert.rejects(fetched, (error) => error === reason)
      await until('the parent has let go', () => !JSON.stringify(parent.explain()).includes(taskId))
    })

    it('never touches the slot again once it has rejected', async (test) => {
      const shelf = new PieceShelf(contentOf(16 * MiB), 16 * MiB)
      const { child, address, request } = await pair(test, shelf)
      const abort = new AbortController()
      const slot = new SlowSlot(request(0).piece, 100_000, () => {
        if (slot.filled >= 2 * MiB) abort.abort(reason)
        return false
      })
      await assert.rejects(
        child.read(address, request(0), slot, abort.signal),
        (error) => error === reason,
      )
      const filled = slot.filled
      slot.release()
      await turns()
      assert.equal(slot.filled, filled)
      await until('the parent has closed the piece', () => shelf.openCount === 0)
    })

    it('does not wait for the slot', async (test) => {
      const { child, address, request } = await pair(test, new PieceShelf(contentOf(MiB), MiB))
      const abort = new AbortController()
      const slot = new SlowSlot(request(0).piece, 10_000, () => true)
      slot.drained = () => new Promise(() => abort.abort(reason))
      await assert.rejects(
        child.read(address, request(0), slot, abort.signal),
        (error) => error === reason,
      )
    })
  })
}
