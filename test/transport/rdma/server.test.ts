import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { PeerError } from '../../../src/errors.ts'
import type { Lease, LeaseRequest, RdmaService } from '../../../src/transport/rdma/control.ts'
import { TokenBucket } from '../../../src/util/rate.ts'
import { ManualClock } from '../manual-clock.ts'
import { never } from '../pair.ts'
import { taskId } from '../piece-shelf.ts'
import { turns, until } from '../until.ts'
import type { FakeNative } from './fake-native.ts'
import { sceneOf, unlimited } from './scene.ts'

const gid = new Uint8Array(16).fill(1)
const me = '10.0.0.1'
const code = (name: string) => (error: unknown) => PeerError.is(error) && error.code === name

/** A child that asks by hand. */
class Child {
  readonly service: RdmaService
  readonly caller: string
  queuePair = 0

  constructor(service: RdmaService, caller: string = me) {
    this.service = service
    this.caller = caller
  }

  async exchange(num = 99): Promise<this> {
    const { num: number } = await this.service.exchange({ num, lid: 0, gid }, this.caller, never)
    this.queuePair = number
    return this
  }

  lease(
    pieces: readonly number[],
    change: Partial<LeaseRequest> = {},
    signal = never,
  ): Promise<Lease> {
    const { queuePair } = this
    const wait = pieces.length === 1
    return this.service.lease(
      { queuePair, mtu: 4096, taskId, kind: 'standard', pieces, wait, ...change },
      this.caller,
      signal,
    )
  }

  release(lease: Lease, read: readonly number[] = []): void {
    this.service.release(lease.id, read, this.caller)
  }
}

/** Reads by a key, as a card would that was told it; the status. */
async function readBy(
  native: FakeNative,
  to: number,
  { address, key }: { address: bigint; key: number },
  byteLength = 1,
): Promise<number> {
  const context = await native.open({
    device: 'fake0',
    port: 1,
    gidIndex: 0,
    onEvent: () => undefined,
  })
  const domain = await native.domain(context)
  const queuePair = await native.queuePair(domain, { readsMax: 1, remoteRead: false })
  const buffer = await native.allocate(byteLength)
  const registration = await native.register(domain, buffer, 0, byteLength, 'local')
  const rest = { lid: 0, gid, mtu: 4096, readsOut: 1, readsIn: 1, timeout: 14, retries: 6 }
  await native.connect(queuePair, { num: to, ...rest })
  try {
    await native.read(queuePair, { registration, offset: 0, byteLength }, { address, key })
    return 0
  } catch (error) {
    return (error as { readonly status: number }).status
  } finally {
    await native.close(context)
  }
}

describe('RdmaServer.lease()', () => {
  it('takes everything back from a child that does not renew, and a late read fails', async (test) => {
    const clock = new ManualClock()
    for (const where of ['disk', 'memory'] as const) {
      const scene = await sceneOf(test, {
        clock,
        where,
        anyMemory: where === 'memory',
        uploadSlots: 1,
      })
      const child = await new Child(scene.service).exchange()
      const lease = await child.lease([0])
      assert.equal(lease.pieces[0]?.length, 1000)
      assert.match(lease.id, /^[0-9a-f]{32}$/)
      clock.advance(lease.ttlMs - 1)
      assert.equal(child.service.renew(lease.id, me), lease.ttlMs)
      clock.advance(lease.ttlMs - 1)
      await turns()
      assert.equal(scene.shelf.openCount, 1)
      clock.advance(1)
      await until('the piece is closed', () => scene.shelf.openCount === 0)
      assert.throws(() => child.service.renew(lease.id, me), code('CLOSED'))
      await assert.rejects(child.lease([0]), code('CLOSED'))
      const [piece] = lease.pieces
      assert.ok(piece !== undefined)
      assert.notEqual(await readBy(scene.native, child.queuePair, piece), 0)
      const next = await new Child(scene.service).exchange()
      const again = await next.lease([0])
      assert.notEqual(again.pieces[0]?.key, piece.key, 'its key is worth nothing any more')
      next.release(again, [0])
      await until('it is closed again', () => scene.shelf.openCount === 0)
    }
  })

  it('ends a lease that is renewed for ever', async (test) => {
    const clock = new ManualClock()
    const scene = await sceneOf(test, { clock })
    const child = await new Child(scene.service).exchange()
    const { id } = await child.lease([0])
    for (let second = 0; scene.shelf.openCount === 1; second++) {
      assert.ok(second < 700, 'it ends')
      child.service.renew(id, me)
      clock.advance(1000)
      await turns(2)
    }
    assert.throws(() => child.service.renew(id, me), code('CLOSED'))
  })

  it('knows leases and connections of others no better than none', async (test) => {
    const scene = await sceneOf(test)
    const child = await new Child(scene.service).exchange()
    const lease = await child.lease([0])
    const other = new Child(scene.service, '10.0.0.2')
    other.queuePair = child.queuePair
    await assert.rejects(other.lease([0]), code('CLOSED'))
    assert.throws(() => other.service.renew(lease.id, other.caller), code('CLOSED'))
    assert.throws(() => other.release(lease), code('CLOSED'))
    assert.equal(scene.shelf.openCount, 1)
    child.release(lease)
    await until('it is closed', () => scene.shelf.openCount === 0)
    assert.throws(() => child.release(lease), code('CLOSED'))
  })

  it('exposes the content of the task and nothing around it', async (test) => {
    const scene = await sceneOf(test, { anyMemory: true, length: 3000 })
    const child = await new Child(scene.service).exchange()
    const lease = await child.lease([1])
    const piece = lease.pieces[0]
    assert.ok(piece !== undefined)
    const { buffer, byteOffset } = scene.shelf.content
    const before = { ...piece, address: piece.address - 1001n }
    const after = { ...piece, address: piece.address + 1999n }
    assert.ok(buffer.byteLength >= 3000 && byteOffset >= 0)
    for (const [at, byteLength, status] of [
      [before, 1, 10],
      [after, 2, 10],
    ] as const) {
      const one = await new Child(scene.service).exchange()
      await one.lease([0])
      // Reached through a queue pair of its own, which breaks.
      assert.equal(await readBy(scene.native, one.queuePair, at, byteLength), 12, `${status}`)
    }
  })

  it('tells a key of a copy to one connection only', async (test) => {
    const scene = await sceneOf(test, { where: 'disk' })
    const first = await new Child(scene.service).exchange()
    const second = await new Child(scene.service).exchange()
    const keys = new Set<number>()
    for (const child of [first, second, first]) {
      const lease = await child.lease([0])
      keys.add(lease.pieces[0]?.key ?? 0)
      child.release(lease, [0])
      await until('it is given back', () => scene.shelf.openCount === 0)
    }
    assert.equal(keys.size, 3)
    const again = await first.lease([0])
    assert.ok(keys.has(again.pieces[0]?.key ?? 0), 'the same child keeps it')
  })

  it('leaves out what it does not have, and what does not lie in registered memory', async (test) => {
    const uploadRate = unlimited
    for (const [where, anyMemory, count] of [
      ['memory', true, 3],
      ['memory', false, 0],
      ['disk', false, 0],
    ] as const) {
      const scene = await sceneOf(test, { where, anyMemory, uploadRate, length: 5000 })
      scene.shelf.hold(1)
      const child = await new Child(scene.service).exchange()
      const one = await child.lease([0])
      assert.equal(one.more, count > 0)
      const lease = await child.lease([1, 2, 3, 4, 9], { wait: false })
      assert.deepEqual(
        lease.pieces.map(({ number }) => number),
        [2, 3, 4].slice(0, count),
      )
      assert.equal(scene.shelf.openCount, 1 + count)
      if (count > 0) child.release(lease)
      child.release(one)
      scene.shelf.arrive(1)
      await until('all are closed', () => scene.shelf.openCount === 0)
    }
  })

  it('leases nothing ahead while a rate holds', async (test) => {
    const clock = new ManualClock()
    const uploadRate = new TokenBucket({ bytesPerSecond: 1000, clock, burstMs: 1000 })
    const scene = await sceneOf(test, { anyMemory: true, uploadRate, length: 3000 })
    const child = await new Child(scene.service).exchange()
    const first = await child.lease([0])
    assert.equal(first.more, false)
    assert.deepEqual((await child.lease([1, 2], { wait: false })).pieces, [])
    let second: Lease | undefined
    void child.lease([1]).then((lease) => {
      second = lease
    })
    await until('it waits', () => uploadRate.waiting === 1)
    clock.advance(999)
    await turns()
    assert.equal(second, undefined)
    clock.advance(1)
    await until('it has it', () => second !== undefined)
  })

  for (const [what, change] of [
    ['an MTU that there is not', { mtu: 1500 }],
    ['a task id that is none', { taskId: '../../etc' }],
    ['too many pieces', { pieces: Array.from({ length: 65 }, (_, at) => at), wait: false }],
    ['a piece twice', { pieces: [1, 1], wait: false }],
  ] as const) {
    it(`refuses ${what}`, async (test) => {
      const scene = await sceneOf(test)
      const child = await new Child(scene.service).exchange()
      await assert.rejects(child.lease([0], change), TypeError)
      assert.equal(scene.shelf.asked.length, 0)
    })
  }

  it('refuses another MTU for a connection', async (test) => {
    const scene = await sceneOf(test)
    const child = await new Child(scene.service).exchange()
    await child.lease([0])
    await assert.rejects(child.lease([0], { mtu: 1024 }), TypeError)
  })

  it('says TASK_NOT_FOUND for a piece that it does not have', async (test) => {
    const scene = await sceneOf(test)
    const child = await new Child(scene.service).exchange()
    await assert.rejects(child.lease([7]), code('TASK_NOT_FOUND'))
    await assert.rejects(child.lease([0], { taskId: 'f'.repeat(64) }), code('TASK_NOT_FOUND'))
  })

  it('lets so many requests wait and refuses the rest of a thousand', async (test) => {
    const scene = await sceneOf(test)
    scene.shelf.hold(0)
    const child = await new Child(scene.service).exchange()
    const gone = new AbortController()
    const refusals: string[] = []
    const asked = Array.from({ length: 1000 }, () =>
      child.lease([0], {}, gone.signal).catch((error: unknown) => {
        refusals.push(PeerError.is(error) ? error.code : String(error))
      }),
    )
    await until('the rest is refused', () => refusals.length === 1000 - 256)
    assert.deepEqual([...new Set(refusals)], ['LIMIT_REACHED'])
    assert.equal(scene.shelf.asked.length, 256)
    gone.abort('gone')
    await Promise.all(asked)
    scene.shelf.arrive(0)
    child.release(await child.lease([0]))
    await until('nothing is open', () => scene.shelf.openCount === 0)
  })

  it('leases so many pieces to one connection', async (test) => {
    const scene = await sceneOf(test, { anyMemory: true, uploadRate: unlimited, uploadSlots: 300 })
    const child = await new Child(scene.service).exchange()
    const leases: Lease[] = []
    for (;;) {
      try {
        leases.push(await child.lease([0]))
      } catch (error) {
        assert.ok(PeerError.is(error, 'LIMIT_REACHED'))
        break
      }
    }
    assert.equal(leases.length, 256)
    for (const lease of leases) child.release(lease)
    child.release(await child.lease([0]))
  })

  it('waits for room in its memory, and refuses what never fits', async (test) => {
    const MiB = 1024 * 1024
    const length = 3 * 4 * MiB
    const rdma = { memoryBytesMax: 16 * MiB }
    const scene = await sceneOf(test, { where: 'disk', length, pieceLength: 4 * MiB, rdma })
    const child = await new Child(scene.service).exchange()
    const [one, two] = [await child.lease([0]), await child.lease([1])]
    let three: Lease | undefined
    const third = child.lease([2]).then((lease) => {
      three = lease
    })
    await until('it is open', () => scene.shelf.openCount === 3)
    await turns()
    assert.equal(three, undefined)
    child.release(one, [0])
    await third
    assert.equal(two.pieces[0]?.length, 4 * MiB)
    const large = await sceneOf(test, { where: 'disk', length, pieceLength: length, rdma })
    const other = await new Child(large.service).exchange()
    await assert.rejects(other.lease([0]), code('LIMIT_REACHED'))
    assert.equal(large.shelf.openCount, 0)
  })
})

describe('RdmaServer.exchange()', () => {
  for (const [what, endpoint] of [
    ['a gid of 4 bytes', { num: 1, lid: 0, gid: new Uint8Array(4) }],
    ['a number of 25 bits', { num: 1 << 24, lid: 0, gid }],
    ['no address', { num: 1, lid: 0, gid: new Uint8Array(16) }],
  ] as const) {
    it(`refuses ${what}`, async (test) => {
      const { service, native } = await sceneOf(test)
      await assert.rejects(service.exchange(endpoint, me, never), TypeError)
      assert.equal(native.stats().live.queuePairs, 0)
    })
  }

  it('keeps so many connections of one caller, and drops those without a lease first', async (test) => {
    const { service, native, shelf } = await sceneOf(test, { anyMemory: true, uploadSlots: 100 })
    const children: Child[] = []
    for (let at = 0; at < 70; at++) children.push(await new Child(service).exchange())
    await until('the oldest are freed', () => native.stats().live.queuePairs === 64)
    await assert.rejects(children[0]?.lease([0]) ?? Promise.resolve(), code('CLOSED'))
    for (const child of children.slice(6)) await child.lease([0])
    await assert.rejects(new Child(service).exchange(), code('LIMIT_REACHED'))
    await new Child(service, '10.0.0.9').exchange()
    assert.equal(shelf.openCount, 64)
  })

  it('keeps so many when a thousand come at once', async (test) => {
    const { service, native } = await sceneOf(test)
    const outcomes = await Promise.allSettled(
      Array.from({ length: 1000 }, () => new Child(service).exchange()),
    )
    assert.ok(native.stats().live.queuePairs <= 64)
    assert.ok(outcomes.some(({ status }) => status === 'fulfilled'))
  })

  it('forgets a child that does nothing', async (test) => {
    const clock = new ManualClock()
    const { service, native } = await sceneOf(test, { clock })
    const child = await new Child(service).exchange()
    clock.advance(89_999)
    await turns()
    assert.equal(native.stats().live.queuePairs, 1)
    clock.advance(1)
    await until('it is freed', () => native.stats().live.queuePairs === 0)
    await assert.rejects(child.lease([0]), code('CLOSED'))
  })
})
