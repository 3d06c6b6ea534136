import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, it, type TestContext } from 'node:test'
import type { HookMessages } from '../../../src/hooks.ts'
import type { Addon } from '../../../src/transport/rdma/addon.ts'
import { rdmaSettings } from '../../../src/transport/rdma/options.ts'
import { RdmaTransport } from '../../../src/transport/rdma/rdma-transport.ts'
import { ManualClock } from '../manual-clock.ts'
import { addressOf, hostOf, never } from '../pair.ts'
import { contentOf, PieceShelf } from '../piece-shelf.ts'
import { PieceSlot } from '../piece-slot.ts'
import { turns, until } from '../until.ts'
import { FakeNative } from './fake-native.ts'
import { nativeError } from './fake-objects.ts'
import { sceneOf, unreachable } from './scene.ts'

type Changed = HookMessages['dragonfly-peer:transport:changed']

/** What is told of the transport during a test. */
function changes(test: TestContext): Changed[] {
  const told: Changed[] = []
  const note = (message: unknown): void => {
    told.push(message as Changed)
  }
  subscribe('dragonfly-peer:transport:changed', note)
  test.after(() => unsubscribe('dragonfly-peer:transport:changed', note))
  return told
}

function transportOf(test: TestContext, addon: Addon, clock = new ManualClock()): RdmaTransport {
  const host = hostOf(new PieceShelf(contentOf(10), 10), { clock })
  const transport = new RdmaTransport(() => addon, rdmaSettings(), host)
  test.after(() => transport.close(0))
  return transport
}

const from = addressOf({ ip: '127.0.0.1', port: 1 })

describe('RdmaTransport.listen() without RDMA', () => {
  const noDevice = new FakeNative()
  noDevice.list = []
  const noLibrary = new FakeNative()
  noLibrary.loadError = nativeError('ERR_RDMA_UNAVAILABLE', 'libibverbs.so.1: cannot open')
  const noPort = new FakeNative()
  noPort.list = noPort.list.map((device) => ({
    ...device,
    ports: device.ports.map((port) => ({ ...port, state: 1 })),
  }))
  for (const [what, addon, reason] of [
    ['no addon', { reason: 'RDMA is unsupported on darwin-arm64' }, /unsupported on darwin/],
    ['no library', { native: noLibrary }, /libibverbs\.so\.1: cannot open/],
    ['no device', { native: noDevice }, /There is no RDMA device/],
    ['no cable', { native: noPort }, /No port of fake0 is active/],
  ] as const) {
    it(`starts all the same and says why: ${what}`, async (test) => {
      const told = changes(test)
      const transport = transportOf(test, addon)
      assert.equal(await transport.listen(), undefined)
      assert.equal(told.length, 1)
      assert.equal(told[0]?.transport, 'rdma')
      assert.equal(told[0]?.usable, false)
      assert.match(told[0]?.reason ?? '', reason)
      assert.match(JSON.stringify(transport.explain()), reason)
      assert.equal(transport.reaches(from), false)
      assert.equal(await transport.allocate(2 ** 21), undefined)
      assert.throws(() => transport.rdma.offer(), reason)
      const slot = new PieceSlot({ number: 0, offset: 0, length: 10 })
      const asked = { taskId: 'a'.repeat(64), kind: 'standard', piece: slot.piece } as const
      await assert.rejects(transport.read(from, asked, slot, never), unreachable(/RDMA here/))
    })
  }

  it('looks again, and finds a device that came', async (test) => {
    const told = changes(test)
    const clock = new ManualClock()
    const native = new FakeNative()
    const { list } = native
    native.list = []
    const transport = transportOf(test, { native }, clock)
    await transport.listen()
    clock.advance(30_000)
    await turns()
    native.list = list
    clock.advance(30_000)
    await until('it is told', () => told.length === 2)
    assert.deepEqual(told[1], { transport: 'rdma', usable: true, reason: '' })
    assert.ok((await transport.allocate(2 ** 21)) !== undefined)
  })
})

describe('RdmaTransport when its device changes', () => {
  it('gives up what is on its way when the cable is pulled, and waits for it to be back', async (test) => {
    const scene = await sceneOf(test, { length: 2000 })
    await scene.fetch(0)
    const told = changes(test)
    scene.native.stalled = true
    const failing = assert.rejects(scene.fetch(1), unreachable(/Port 1 of fake0 is down/))
    await until('it is on its way', () => scene.native.onTheirWay === 1)
    scene.native.emit(10)
    await failing
    assert.equal(scene.child.reaches(scene.address), false)
    assert.ok(told.some(({ usable, reason }) => !usable && /is down/.test(reason)))
    scene.native.resume()
    scene.native.emit(9)
    assert.equal(scene.child.reaches(scene.address), true, 'the parent is not to blame')
    await scene.fetch(1)
  })

  it('opens the device anew after it failed', async (test) => {
    const clock = new ManualClock()
    const scene = await sceneOf(test, { length: 2000, clock })
    await scene.fetch(0)
    scene.native.emit(8)
    await until('it is closed', () => scene.native.stats().live.contexts === 0)
    assert.equal(scene.child.reaches(scene.address), false)
    clock.advance(30_000)
    await until('it is open', () => scene.child.reaches(scene.address))
    await until('both are', () => scene.native.stats().live.contexts === 2)
    await scene.fetch(1)
  })

  it('gives up a connection whose queue pair failed', async (test) => {
    const scene = await sceneOf(test, { length: 2000 })
    await scene.fetch(0)
    scene.native.stalled = true
    const failing = assert.rejects(scene.fetch(1), unreachable(/queue pair failed|flushed/i))
    await until('it is on its way', () => scene.native.onTheirWay === 1)
    // Numbers begin at 17; that of the parent is told too.
    for (let number = 17; number < 30; number++) scene.native.emit(1, number)
    await failing
  })
})

describe('RdmaTransport.allocate()', () => {
  it('gives memory that is registered once, as long as it is in hand', async (test) => {
    const native = new FakeNative()
    const transport = transportOf(test, { native })
    await transport.listen()
    const memory = await transport.allocate(5 * 2 ** 20, true)
    assert.ok(memory !== undefined && native.isAllocated(memory))
    assert.equal(native.stats().registrations, 1)
    assert.equal(await transport.allocate(1000), undefined, 'too little for a registration')
    assert.ok((await transport.allocate(1000, true)) !== undefined)
  })

  it('gives it also when it cannot be registered now', async (test) => {
    const native = new FakeNative()
    const transport = transportOf(test, { native })
    await transport.listen()
    native.registerErrno = 12
    assert.ok((await transport.allocate(2 ** 21, true)) !== undefined)
    assert.match(JSON.stringify(transport.explain()), /ulimit -l/)
  })
})
