import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { test } from 'node:test'
import type { HookMessages } from '../../src/hooks.ts'
import { memlockOf } from '../../src/transport/rdma/machine.ts'
import { probe } from '../../src/transport/rdma/probe.ts'
import { rdma } from '../../src/transport/rdma/rdma.ts'
import { tcp } from '../../src/transport/tcp/tcp.ts'
import { origin } from '../support/origin.ts'
import { verifyBytes } from '../support/verify.ts'
import { FakeNative } from '../transport/rdma/fake-native.ts'
import { startPeer } from './start-peer.ts'

const mib = 1024 * 1024
/** There is no such library anywhere. */
const library = 'libibverbs-of-nobody.so.1'

test('A peer that names rdma() without a library starts, says why, and works over TCP', async (t) => {
  const told: HookMessages['dragonfly-peer:transport:changed'][] = []
  const note = (message: unknown): void => {
    told.push(message as HookMessages['dragonfly-peer:transport:changed'])
  }
  subscribe('dragonfly-peer:transport:changed', note)
  t.after(() => unsubscribe('dragonfly-peer:transport:changed', note))
  const from = await origin(t, { length: 9 * mib })
  const transports = [rdma({ library }), tcp()]
  const first = await startPeer(t, { transports })
  const second = await startPeer(t, { transports, scheduler: first.schedulerAddress })
  assert.equal(told.length, 2)
  assert.equal(told[0]?.usable, false)
  assert.ok((told[0]?.reason ?? '').length > 10, told[0]?.reason)
  assert.ok(JSON.stringify(first.explain()).includes(JSON.stringify(told[0]?.reason).slice(1, -1)))
  const memory = await first.allocate(9 * mib)
  verifyBytes(await first.download(from.url, { into: memory }).bytes(), from.content)
  verifyBytes(await second.download(from.url).bytes(), from.content)
  assert.equal(from.counts.ranged, 3)
})

test('rdma.probe() never rejects, and gives a reason when there is no RDMA', async () => {
  const found = await rdma.probe()
  assert.equal(typeof found.supported, 'boolean')
  assert.ok(found.supported || found.reason !== '')
  const missing = await rdma.probe({ library })
  assert.equal(missing.supported, false)
  assert.ok(missing.reason.length > 10)
  assert.deepEqual(missing.devices, [])
  if (process.platform === 'linux') assert.ok((missing.memlockBytes ?? 0) > 0)
  await assert.rejects(rdma.probe({ memoryBytesMax: 1 } as object), RangeError)
})

test('probe() shows devices, ports and addresses as people call them', async () => {
  const native = new FakeNative()
  const found = await probe({}, () => ({ native }))
  assert.equal(found.supported, true)
  assert.deepEqual(found.devices, [
    {
      name: 'fake0',
      ports: [
        {
          port: 1,
          active: true,
          link: 'ethernet',
          mtu: 4096,
          lid: 0,
          gids: [{ index: 0, address: '127.0.0.1', type: 'roce-v2' }],
        },
      ],
    },
  ])
  const named = await probe({ device: 'other' }, () => ({ native }))
  assert.equal(named.supported, false)
  assert.match(named.reason, /no RDMA device other, only fake0/)
  assert.equal(named.devices.length, 1)
})

test('memlockOf() reads what a process may lock', () => {
  const limits = (soft: string): string =>
    `Limit                     Soft Limit           Hard Limit           Units\nMax locked memory         ${soft}              8388608              bytes\n`
  const plain = 'CapEff:\t00000000a80425fb\n'
  assert.equal(memlockOf(limits('8388608'), plain), 8_388_608)
  assert.equal(memlockOf(limits('unlimited'), plain), Number.POSITIVE_INFINITY)
  assert.equal(memlockOf(limits('65536'), 'CapEff:\t0000000000004000\n'), Number.POSITIVE_INFINITY)
  assert.equal(memlockOf('', ''), undefined)
})
