import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Regions } from '../../../src/transport/rdma/regions.ts'
import { Slabs } from '../../../src/transport/rdma/slabs.ts'
import { ManualClock } from '../manual-clock.ts'
import { never } from '../pair.ts'
import { turns, until } from '../until.ts'
import { FakeNative } from './fake-native.ts'

const MiB = 1024 * 1024
const GiB = 1024 * MiB

async function opened(): Promise<{
  readonly native: FakeNative
  readonly clock: ManualClock
  readonly regions: Regions
  readonly slabs: (bytesMax: number) => Slabs
}> {
  const native = new FakeNative({ anyMemory: true })
  const clock = new ManualClock()
  const context = await native.open({
    device: 'fake0',
    port: 1,
    gidIndex: 0,
    onEvent: () => undefined,
  })
  const domain = await native.domain(context)
  const host = { native, domain, access: 'local', clock } as const
  return {
    native,
    clock,
    regions: new Regions({ ...host, lingerMs: 1000, partBytesMax: 64 * MiB }),
    slabs: (bytesMax) => new Slabs({ ...host, bytesMax }),
  }
}

/** Memory that is never touched, so that it costs nothing. */
const huge = new ArrayBuffer(3 * GiB)

describe('Regions.hold()', () => {
  it('finds every part whole in a block of at most 1 GiB', async () => {
    const { native, regions } = await opened()
    const span = { start: 5, length: 3 * GiB - 10 }
    for (const start of [
      5,
      GiB - 64 * MiB + 4,
      GiB - 64 * MiB + 5,
      GiB + 4,
      2 * GiB - 1,
      3 * GiB - 64 * MiB - 5,
    ]) {
      const part = { start, length: 64 * MiB }
      const { registration, offset, end } = await regions.hold(huge, span, part)
      assert.ok(registration.byteLength <= GiB)
      assert.ok(offset >= 0 && offset + part.length <= registration.byteLength)
      const whole = await regions.hold(huge, { start: 0, length: huge.byteLength }, part)
      const first = registration.address + BigInt(offset)
      assert.equal(first, whole.registration.address + BigInt(whole.offset))
      end()
      whole.end()
    }
    assert.ok(native.stats().registrations <= 8)
  })

  it('refuses a part that is in no block', async () => {
    const { regions } = await opened()
    const span = { start: 10, length: 100 }
    for (const part of [
      { start: 9, length: 1 },
      { start: 100, length: 11 },
      { start: 10, length: 65 * MiB },
    ]) {
      await assert.rejects(regions.hold(huge, span, part), RangeError)
    }
  })

  it('registers once, keeps it for a while, and gives it back', async () => {
    const { native, clock, regions } = await opened()
    const span = { start: 0, length: 1000 }
    const all = await Promise.all([1, 2, 3].map(() => regions.hold(huge, span, span)))
    assert.equal(native.stats().registrations, 1)
    for (const { end } of all) end()
    clock.advance(999)
    const again = await regions.hold(huge, span, span)
    clock.advance(5000)
    assert.equal(native.stats().live.registrations, 1)
    again.end()
    again.end()
    clock.advance(1000)
    await until('it is given back', () => native.stats().live.registrations === 0)
    const last = await regions.hold(huge, span, span)
    last.end(true)
    await until('it is given back at once', () => native.stats().live.registrations === 0)
    assert.equal(native.stats().registrations, 2)
  })

  it('drops what nobody uses when no more may be locked, and tries anew after a failure', async () => {
    const { native, regions } = await opened()
    const idle = await regions.hold(huge, { start: 0, length: 10 }, { start: 0, length: 10 })
    idle.end()
    native.registerErrno = 12
    const other = { start: 100, length: 10 }
    const failing = assert.rejects(regions.hold(huge, other, other))
    await failing
    assert.equal(native.stats().live.registrations, 0)
    assert.equal(regions.count, 0)
    native.registerErrno = undefined
    await regions.hold(huge, other, other)
  })

  it('keeps what is pinned', async () => {
    const { native, clock, regions } = await opened()
    await regions.pin(huge)
    const { registrations } = native.stats()
    assert.ok(registrations >= 3)
    const span = { start: 0, length: huge.byteLength }
    const { end } = await regions.hold(huge, span, { start: 2 * GiB, length: MiB })
    end()
    clock.advance(100_000)
    await turns()
    assert.equal(native.stats().live.registrations, registrations)
    assert.equal(native.stats().registrations, registrations)
  })
})

describe('Slabs.take()', () => {
  it('gives out so many bytes, first come first served, and registers each once', async () => {
    const { native, slabs } = await opened()
    const pool = slabs(8 * MiB)
    const owner = {}
    const first = await pool.take(3 * MiB, owner, never)
    const second = await pool.take(4 * MiB, owner, never)
    const order: string[] = []
    const large = pool.take(8 * MiB, owner, never).then((slab) => {
      order.push('large')
      return slab
    })
    const small = pool.take(1, owner, never).then((slab) => {
      order.push('small')
      return slab
    })
    await turns()
    first.give()
    first.give()
    await turns()
    assert.deepEqual(order, [], 'a small one does not overtake')
    second.give()
    const got = await large
    assert.deepEqual(order, ['large'])
    got.give()
    assert.equal((await small).bytes.length, 1)
    assert.equal(native.stats().registrations, 4)
    assert.ok(native.stats().live.registrations <= 3)
  })

  it('lets go of its place when it is aborted, and gives it to the next', async () => {
    const { slabs } = await opened()
    const pool = slabs(4 * MiB)
    const slab = await pool.take(4 * MiB, {}, never)
    const abort = new AbortController()
    const waiting = assert.rejects(pool.take(4 * MiB, {}, abort.signal), (error) => error === 'no')
    const next = pool.take(2 * MiB, {}, never)
    abort.abort('no')
    await waiting
    slab.give()
    ;(await next).give()
    await assert.rejects(pool.take(5 * MiB, {}, never), /do not fit/)
  })

  it('gives up what was not used for a while', async () => {
    const { native, clock, slabs } = await opened()
    const pool = slabs(8 * MiB)
    const slab = await pool.take(2 * MiB, {}, never)
    slab.give()
    clock.advance(29_999)
    assert.equal(native.stats().live.registrations, 1)
    clock.advance(1)
    await until('it is gone', () => native.stats().live.registrations === 0)
  })

  it('loses no room when registering fails', async () => {
    const { native, slabs } = await opened()
    const pool = slabs(2 * MiB)
    native.registerErrno = 12
    await assert.rejects(pool.take(1, {}, never))
    native.registerErrno = undefined
    const one = await pool.take(1, {}, never)
    one.give()
    native.registerErrno = 12
    await assert.rejects(pool.take(1, {}, never), 'another owner: registered anew')
    native.registerErrno = undefined
    ;(await pool.take(2 * MiB, {}, never)).give()
  })
})
