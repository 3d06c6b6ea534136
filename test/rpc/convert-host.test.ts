import assert from 'node:assert/strict'
import test from 'node:test'

import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'

import { type HostFigures, hostFacts, hostMessage } from '../../src/rpc/convert-host.ts'
import { type Host, HostSchema } from '../../src/rpc/gen/common/v2/common_pb.ts'

const figures: HostFigures = {
  id: '10.0.0.1-a',
  hostname: 'a',
  ip: '10.0.0.1',
  port: 4000,
  seed: true,
  idc: 'x',
  location: 'eu|de',
}

function onTheWire(message: Parameters<typeof create<typeof HostSchema>>[1]): Host {
  return fromBinary(HostSchema, toBinary(HostSchema, create(HostSchema, message)))
}

test('hostMessage() fills what a Go scheduler refuses to miss', () => {
  const host = onTheWire(hostMessage(figures))
  assert.equal(host.type, 1)
  assert.equal(host.port, 4000)
  assert.equal(host.downloadPort, 4000)
  assert.notEqual(host.cpu, undefined)
  assert.ok((host.network?.maxTxBandwidth ?? 0n) > 0n)
  assert.equal(host.name, 'a')
})

test('hostMessage() holds shares and sizes within their fields, whatever the machine says', () => {
  const any = fc.double()
  fc.assert(
    fc.property(any, any, any, (a, b, c) => {
      const host = onTheWire(
        hostMessage({
          ...figures,
          cpu: { logicalCount: a, physicalCount: b, percent: c, processPercent: a },
          memory: {
            total: a,
            available: b,
            used: c,
            usedPercent: a,
            processUsedPercent: b,
            free: c,
          },
          network: { maxRx: a, rx: b, maxTx: c, tx: a },
          disk: { total: a, free: b, used: c, usedPercent: b },
        }),
      )
      for (const share of [host.cpu?.percent, host.memory?.usedPercent, host.disk?.usedPercent]) {
        assert.ok(share !== undefined && share >= 0 && share <= 100)
      }
    }),
  )
})

test('hostFacts() reads what hostMessage() wrote', () => {
  const facts = hostFacts(onTheWire(hostMessage({ ...figures, disableShared: true })))
  assert.ok(typeof facts !== 'string')
  const { id, ip, port, downloadPort, type, idc, location, disableShared, own } = facts
  assert.deepEqual(
    { id, ip, port, downloadPort, type, idc, location, disableShared, own },
    {
      id: '10.0.0.1-a',
      ip: '10.0.0.1',
      port: 4000,
      downloadPort: 4000,
      type: 1,
      idc: 'x',
      location: 'eu|de',
      disableShared: true,
      own: true,
    },
  )
})

test('hostFacts() says what is wrong with a host', () => {
  const base = { id: 'a', hostname: 'a', ip: '10.0.0.1', port: 4000 }
  const cases: readonly [object, RegExp | undefined][] = [
    [{}, undefined],
    [{ ip: '::1' }, undefined],
    [{ ip: 'peer.test' }, /ip/],
    [{ ip: 'fe80::1%eth0' }, /ip/],
    [{ ip: '' }, /ip/],
    [{ port: 0 }, /port/],
    [{ port: 65536 }, /port/],
    [{ port: -1 }, /port/],
    [{ id: '' }, /id/],
    [{ id: 'x'.repeat(5000) }, /id/],
    [{ hostname: '' }, /hostname/],
    [{ type: 4 }, /type/],
  ]
  for (const [change, wrong] of cases) {
    const facts = hostFacts(create(HostSchema, { ...base, ...change }))
    if (wrong === undefined) assert.ok(typeof facts !== 'string', JSON.stringify(change))
    else assert.match(typeof facts === 'string' ? facts : 'usable', wrong)
  }
  assert.equal(typeof hostFacts(undefined), 'string')
})

test('hostFacts() uses the one port when the other is missing', () => {
  const host = create(HostSchema, { id: 'a', hostname: 'a', ip: '10.0.0.1', port: 4000 })
  const facts = hostFacts(host)
  assert.ok(typeof facts !== 'string')
  assert.equal(facts.downloadPort, 4000)
  assert.equal(facts.own, false)
  assert.equal(facts.diskFree, undefined)
})
