import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { choose } from '../../../src/transport/rdma/choice.ts'
import { carries, gidText, sameSubnet } from '../../../src/transport/rdma/gid.ts'
import type { NativeDevice, NativeGid, NativePort } from '../../../src/transport/rdma/native.ts'

const mapped = (...bytes: number[]): Uint8Array =>
  Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...bytes])
const linkLocal = Uint8Array.from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0xff, 0xfe, 0, 0, 1])

/** A RoCE port: link-local of both versions, then the address of both versions. */
function roce(port: number, address: Uint8Array, state = 4): NativePort {
  const gids: NativeGid[] = [
    { index: 0, gid: linkLocal, type: 1 },
    { index: 1, gid: linkLocal, type: 2 },
    { index: 2, gid: address, type: 1 },
    { index: 3, gid: address, type: 2 },
  ]
  return { port, state, activeMtu: 4096, lid: 0, linkLayer: 2, gids }
}

const infiniband: NativePort = {
  port: 1,
  state: 4,
  activeMtu: 4096,
  lid: 7,
  linkLayer: 1,
  gids: [{ index: 0, gid: linkLocal, type: 0 }],
}
const any = { device: undefined, port: undefined, gidIndex: undefined }
const two: NativeDevice[] = [
  { name: 'a', ports: [roce(1, mapped(10, 0, 0, 1), 1), roce(2, mapped(10, 0, 0, 2))] },
  { name: 'b', ports: [roce(1, mapped(10, 0, 0, 3))] },
]

describe('choose()', () => {
  for (const [what, devices, wanted, hostIp, expected] of [
    ['the first active port, by its IPv4 address', two, any, '1.2.3.4', 'a 2 3 10.0.0.2'],
    ['the port with the address of the host', two, any, '10.0.0.3', 'b 1 3 10.0.0.3'],
    ['the device that is named', two, { ...any, device: 'b' }, '10.0.0.2', 'b 1 3 10.0.0.3'],
    ['the port that is named', two, { ...any, port: 2 }, '10.0.0.3', 'a 2 3 10.0.0.2'],
    ['the address that is named', two, { ...any, gidIndex: 1 }, '', 'a 2 1 fe80::200:ff:fe00:1'],
    ['an IPv6 address of the host', two, any, 'fe80:0::200:ff:fe00:1', 'a 2 1 fe80::200:ff:fe00:1'],
    [
      'the first address of InfiniBand',
      [{ name: 'ib', ports: [infiniband] }],
      any,
      '10.0.0.1',
      'ib 1 0 fe80::200:ff:fe00:1',
    ],
  ] as const) {
    it(`takes ${what}`, () => {
      const choice = choose(devices, wanted, hostIp)
      assert.ok(choice.is === 'chosen', JSON.stringify(choice))
      const { device, port, gidIndex, gid } = choice
      assert.equal([device, port, gidIndex, gid].join(' '), expected)
    })
  }

  const onlyV1: NativePort = {
    ...roce(1, linkLocal),
    gids: [{ index: 0, gid: linkLocal, type: 1 }],
  }
  for (const [what, devices, wanted, reason] of [
    ['nothing', [], any, /no RDMA device/],
    ['another device', two, { ...any, device: 'c' }, /no RDMA device c, only a, b/],
    ['another port', two, { ...any, device: 'b', port: 2 }, /has no port 2/],
    ['no cable', two, { ...any, port: 1, device: 'a' }, /No port of a is active/],
    ['no address of version 2', [{ name: 'a', ports: [onlyV1] }], any, /version 2/],
    ['no such index', two, { ...any, gidIndex: 9 }, /index 9/],
  ] as const) {
    it(`says why there is no choice: ${what}`, () => {
      const choice = choose(devices, wanted, '')
      assert.ok(choice.is === 'none')
      assert.match(choice.reason, reason)
    })
  }
})

describe('gidText()', () => {
  it('writes an address as people do, and carries() compares it', () => {
    assert.equal(gidText(mapped(192, 168, 1, 2)), '192.168.1.2')
    assert.equal(gidText(linkLocal), 'fe80::200:ff:fe00:1')
    assert.equal(carries(mapped(192, 168, 1, 2), '192.168.1.2'), true)
    assert.equal(carries(mapped(192, 168, 1, 2), '192.168.1.3'), false)
    assert.equal(carries(linkLocal, 'FE80::0200:00ff:fe00:0001'), true)
    assert.equal(sameSubnet(linkLocal, linkLocal), true)
    assert.equal(sameSubnet(linkLocal, mapped(1, 2, 3, 4)), false)
  })
})
