import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, it, type TestContext } from 'node:test'
import { PeerError } from '../../src/errors.ts'
import type { TransportFactory } from '../../src/transport/transport.ts'
import { TokenBucket } from '../../src/util/rate.ts'
import { ManualClock } from '../transport/manual-clock.ts'
import { hostOf, never, type Pair, type PairOptions, pairOf } from '../transport/pair.ts'
import { contentOf, PieceShelf, taskId } from '../transport/piece-shelf.ts'
import { PieceSlot } from '../transport/piece-slot.ts'
import { turns, until } from '../transport/until.ts'

const MiB = 1024 * 1024

/** The second half of the suite in `transport.ts`: the parent's side, and the end. */
export function testServing(
  name: string,
  makeNetwork: () => () => TransportFactory,
  paces: 'parts' | 'pieces',
): void {
  const pair = (test: TestContext, shelf: PieceShelf, options: PairOptions = {}): Promise<Pair> =>
    pairOf(test, makeNetwork(), shelf, options)

  describe(`${name}: serving`, () => {
    it('sends no more pieces at once than there are slots, first come first served', async (test) => {
      const shelf = new PieceShelf(contentOf(4 * 1000), 1000, 'disk')
      const gate = new Map<number, () => void>()
      const order: number[] = []
      const { child, address, request } = await pair(test, shelf, { uploadSlots: 1 })
      const openFirst = shelf.open.bind(shelf)
      shelf.open = async (wanted, signal) => {
        const open = await openFirst(wanted, signal)
        return {
          ...open,
          read: async (into, position) => {
            order.push(wanted.number)
            await new Promise<void>((resolve) => gate.set(wanted.number, resolve))
            return await open.read(into, position)
          },
        }
      }
      const reads: Promise<unknown>[] = []
      for (const number of [2, 0, 3, 1]) {
        const slot = new PieceSlot(request(number).piece)
        reads.push(child.read(address, request(number), slot, never))
        await until('it is open', () => shelf.openCount === reads.length)
      }
      for (const [at, number] of [2, 0, 3, 1].entries()) {
        await until('the next one is read', () => gate.has(number))
        await turns()
        assert.equal(order.length, at + 1)
        gate.get(number)?.()
        await reads[at]
      }
      assert.deepEqual(order, [2, 0, 3, 1])
    })

    it('gives the turn of a child that went away to the next', async (test) => {
      const shelf = new PieceShelf(contentOf(3 * 1000), 1000, 'disk')
      let goOn = (): void => undefined
      const gate = new Promise<void>((resolve) => {
        goOn = resolve
      })
      shelf.beforeRead = () => gate
      const { child, address, request, fetch } = await pair(test, shelf, { uploadSlots: 1 })
      const first = fetch(0)
      await until('the first is open', () => shelf.openCount === 1)
      const abort = new AbortController()
      const slot = new PieceSlot(request(1).piece)
      const second = child.read(address, request(1), slot, abort.signal)
      await until('the second is open', () => shelf.openCount === 2)
      const third = fetch(2)
      await until('the third is open', () => shelf.openCount === 3)
      abort.abort('gone')
      await assert.rejects(second, (error) => error === 'gone')
      await until('the second is closed', () => shelf.openCount === 2)
      goOn()
      await Promise.all([first, third])
    })

    it('paces pieces', async (test) => {
      const clock = new ManualClock()
      const uploadRate = new TokenBucket({ bytesPerSecond: MiB, clock, burstMs: 1000 })
      const shelf = new PieceShelf(contentOf(4 * MiB), MiB)
      const { fetch } = await pair(test, shelf, { uploadRate, clock })
      await fetch(0)
      for (let number = 1; number < 4; number++) {
        let fetched = false
        const fetching = fetch(number).then(() => {
          fetched = true
        })
        await until('the parent waits', () => uploadRate.waiting === 1)
        clock.advance(980)
        await until('the parent waits again', () => uploadRate.waiting === 1)
        await turns()
        assert.equal(fetched, false)
        clock.advance(22)
        await fetching
      }
    })

    const pacesParts = async (test: TestContext): Promise<void> => {
      const clock = new ManualClock()
      const uploadRate = new TokenBucket({ bytesPerSecond: MiB, clock, burstMs: 1000 })
      const shelf = new PieceShelf(contentOf(4 * MiB), 4 * MiB)
      const { child, address, request } = await pair(test, shelf, { uploadRate, clock })
      const slot = new PieceSlot(request(0).piece)
      const fetched = child.read(address, request(0), slot, never)
      for (let second = 1; second < 4; second++) {
        await until(`${second} MiB are there`, () => slot.filled >= second * MiB)
        await until('the parent waits', () => uploadRate.waiting === 1)
        await turns()
        assert.equal(slot.filled, second * MiB)
        clock.advance(1000)
      }
      await fetched
      assert.equal(slot.filled, 4 * MiB)
    }
    if (paces === 'parts') it('paces bytes', pacesParts)

    it('tells of each piece that went', async (test) => {
      const told: unknown[] = []
      const note = (message: unknown): void => {
        told.push(message)
      }
      subscribe('dragonfly-peer:piece:served', note)
      test.after(() => unsubscribe('dragonfly-peer:piece:served', note))
      const { parent, fetch } = await pair(test, new PieceShelf(contentOf(15), 10))
      await fetch(1)
      await until('it is told', () => told.length === 1)
      assert.deepEqual(told, [{ task: taskId, number: 1, length: 5, transport: parent.name }])
    })

    it('rejects with LISTEN_FAILED when the port is taken', async (test) => {
      const makeFactory = makeNetwork()
      const shelf = new PieceShelf(contentOf(9), 9)
      const { address } = await pairOf(test, makeFactory, shelf)
      const port = address.endpoint.tcpPort ?? 0
      const other = makeFactory()({ ...hostOf(shelf), listen: { ip: '127.0.0.1', port } })
      await assert.rejects(other.listen(), (error) => PeerError.is(error, 'LISTEN_FAILED'))
      other.destroy(new Error('over'))
    })
  })

  describe(`${name}: closing`, () => {
    it('close() of the child lets a running read end and refuses new ones', async (test) => {
      const shelf = new PieceShelf(contentOf(1000), 1000)
      shelf.hold(0)
      const { child, fetch } = await pair(test, shelf)
      const fetched = fetch(0)
      await until('it was asked', () => shelf.asked.length === 1)
      const closed = child.close()
      assert.equal(child.close() instanceof Promise, true)
      await assert.rejects(fetch(0), (error) => PeerError.is(error, 'CLOSED'))
      shelf.arrive(0)
      await fetched
      await closed
      await child.close()
    })

    it('close() of the parent lets a running upload end', async (test) => {
      const shelf = new PieceShelf(contentOf(2 * MiB), 2 * MiB)
      shelf.hold(0)
      const { parent, fetch } = await pair(test, shelf)
      const fetched = fetch(0)
      await until('it was asked', () => shelf.asked.length === 1)
      const closed = parent.close()
      await turns()
      shelf.arrive(0)
      await fetched
      await closed
      await assert.rejects(parent.listen(), (error) => PeerError.is(error, 'CLOSED'))
    })

    it('close() gives up after its time', async (test) => {
      const clock = new ManualClock()
      const shelf = new PieceShelf(contentOf(1000), 1000)
      shelf.hold(0)
      const { parent, child, fetch } = await pair(test, shelf, { clock })
      const failed = assert.rejects(fetch(0), (error) => PeerError.is(error, 'CLOSED'))
      await until('it was asked', () => shelf.asked.length === 1)
      const closed = child.close(500)
      clock.advance(499)
      await turns()
      clock.advance(1)
      await failed
      await closed
      const parentClosed = parent.close(500)
      clock.advance(500)
      await parentClosed
    })

    it('destroy() rejects running reads with its reason', async (test) => {
      const shelf = new PieceShelf(contentOf(1000), 1000)
      shelf.hold(0)
      const { child, fetch } = await pair(test, shelf)
      const reason = new Error('enough')
      const failed = assert.rejects(fetch(0), (error) => error === reason)
      await until('it was asked', () => shelf.asked.length === 1)
      child.destroy(reason)
      child.destroy(new Error('again'))
      await failed
      await child.close()
    })

    it('destroy() of the parent shows as PARENT_UNREACHABLE', async (test) => {
      const shelf = new PieceShelf(contentOf(1000), 1000)
      shelf.hold(0)
      const { parent, fetch } = await pair(test, shelf)
      const failed = assert.rejects(fetch(0), (error) => PeerError.is(error, 'PARENT_UNREACHABLE'))
      await until('it was asked', () => shelf.asked.length === 1)
      parent.destroy(new Error('enough'))
      await failed
    })
  })
}
