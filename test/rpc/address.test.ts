import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { addressText, parseAddress } from '../../src/rpc/address.ts'

test('parseAddress() reads hosts, IP addresses and unix sockets', () => {
  assert.deepEqual(parseAddress('10.0.0.1:65001'), { host: '10.0.0.1', port: 65001 })
  assert.deepEqual(parseAddress('scheduler.local:8002'), { host: 'scheduler.local', port: 8002 })
  assert.deepEqual(parseAddress('[fd00::1]:1'), { host: 'fd00::1', port: 1 })
  assert.deepEqual(parseAddress('unix:/run/peer.sock'), { path: '/run/peer.sock' })
  assert.deepEqual(parseAddress('unix:///run/peer.sock'), { path: '/run/peer.sock' })
})

for (const address of [
  '',
  'host',
  'host:',
  ':80',
  'host:0',
  'host:65536',
  'host:999999',
  'host:8o',
  'fd00::1:80',
  '[]:80',
  'http://host:80',
  'host:80/path',
  'unix:relative',
  'unix:',
]) {
  test(`parseAddress() refuses ${JSON.stringify(address)}`, () => {
    assert.throws(() => parseAddress(address), TypeError)
  })
}

test('parseAddress() reads what addressText() writes', () => {
  const ip = fc.oneof(fc.ipV4(), fc.ipV6())
  const port = fc.integer({ min: 1, max: 65535 })
  fc.assert(
    fc.property(ip, port, (host, number) => {
      const text = addressText({ ip: host, port: number })
      assert.deepEqual(parseAddress(text), { host, port: number })
    }),
  )
  assert.deepEqual(parseAddress(addressText({ path: '/a b:80' })), { path: '/a b:80' })
})
