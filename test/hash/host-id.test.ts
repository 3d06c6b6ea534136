import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hostId, peerId } from '../../src/hash/host-id.ts'

const host = { ip: '127.0.0.1', hostname: 'localhost', seedPeer: false }
const seed = { ...host, seedPeer: true }

test('hostId() agrees with the known values', () => {
  assert.equal(hostId(host), '127.0.0.1-localhost')
  assert.equal(hostId(seed), '127.0.0.1-localhost-seed')
})

test('hostId() writes an address in its one canonical form', () => {
  const forms: readonly (readonly [string, string])[] = [
    ['::1', '::1'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
    ['0:0:1:0:0:0:0:0', '0:0:1::'],
    ['::FFFF:1.2.3.4', '::ffff:1.2.3.4'],
    ['64:ff9b::1.2.3.4', '64:ff9b::102:304'],
  ]
  for (const [ip, canonical] of forms) {
    assert.equal(hostId({ ...host, ip }), `${canonical}-localhost`)
  }
})

test('hostId() refuses an address that is not literal and a name of no sensible length', () => {
  for (const ip of ['', 'localhost', '127.0.0.1:80', '[::1]', 'fe80::1%eth0', '127.000.0.1']) {
    assert.throws(() => hostId({ ...host, ip }), TypeError, ip)
  }
  assert.throws(() => hostId({ ...host, hostname: '' }), RangeError)
  assert.throws(() => hostId({ ...host, hostname: 'h'.repeat(256) }), RangeError)
})

test('peerId() puts the UUID behind the host, before the mark of a seed', () => {
  const uuid = '6ba7b810-9dad-41d1-80b4-00c04fd430c8'
  assert.equal(peerId(host, uuid), `127.0.0.1-localhost-${uuid}`)
  assert.equal(peerId(seed, uuid), `127.0.0.1-localhost-${uuid}-seed`)
})

test('peerId() is a fresh one each time, with a version 4 UUID in lower case', () => {
  const first = peerId(host)
  assert.match(
    first,
    /^127\.0\.0\.1-localhost-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  )
  assert.notEqual(peerId(host), first)
})
