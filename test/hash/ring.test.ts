import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ringKey, ringOrder, ringOwner, ringPoint } from '../../src/hash/ring.ts'
import { ringKeys, ringPoints } from '../vectors/ring.ts'

/** A task id that begins like this. */
const task = (start: string): string => start.padEnd(64, '0')

const ports = fc.integer({ min: 1, max: 65535 })
const addresses = fc.uniqueArray(
  fc.oneof(
    fc.tuple(fc.ipV4(), ports).map(([ip, port]) => `${ip}:${port}`),
    fc.tuple(fc.ipV6(), ports).map(([ip, port]) => `[${ip}]:${port}`),
  ),
  { minLength: 1, maxLength: 8 },
)
const taskIds = fc.string({
  unit: fc.constantFrom(...'0123456789abcdef'.split('')),
  minLength: 64,
  maxLength: 64,
})

test('ringPoint() agrees with the known values', () => {
  for (const { address, point } of ringPoints) assert.equal(ringPoint(address), point, address)
})

test('ringKey() agrees with the known values and reads five characters only', () => {
  for (const { start, key } of ringKeys) {
    assert.equal(ringKey(start), key, start)
    assert.equal(ringKey(task(start)), key, start)
  }
})

test('ringPoint() does not depend on how an IPv6 address is spelled', () => {
  const point = ringPoint('[::1]:8002')
  assert.equal(ringPoint('[0:0:0:0:0:0:0:1]:8002'), point)
  assert.equal(ringPoint('[0000::0001]:8002'), point)
  assert.equal(ringPoint('[::ffff:192.168.1.10]:1'), ringPoint('[::FFFF:c0a8:10a]:1'))
})

test('ringPoint() refuses all but a literal address with a port', () => {
  for (const address of [
    '',
    'localhost:8002',
    '127.0.0.1',
    '127.0.0.1:',
    '127.0.0.1:0',
    '127.0.0.1:65536',
    '127.0.0.1:80 ',
    '127.0.0.256:80',
    '127.0.1:80',
    '::1:8002',
    '[::1]',
    '[127.0.0.1]:80',
    '[::1%lo]:80',
    '[1:2:3:4:5:6:7:8:9]:80',
    'http://127.0.0.1:80',
  ]) {
    assert.throws(() => ringPoint(address), TypeError, address)
  }
})

test('ringKey() refuses an id of fewer than five bytes', () => {
  assert.throws(() => ringKey('abcd'), TypeError)
  assert.throws(() => ringOwner(['127.0.0.1:8002'], ''), TypeError)
})

test('ringOwner() is the first point at or after the key, and the smallest past the end', () => {
  const four = ['127.0.0.1:8002', '10.0.0.1:8002', '10.0.0.2:8002', '192.168.1.10:8002']
  // Points in order: 127.0.0.1 2c30…, 10.0.0.2 3c5a…, 192.168.1.10 66bb…, 10.0.0.1 9948….
  assert.equal(ringOwner(four, task('00000')), '10.0.0.2:8002', 'key 3226…')
  assert.equal(ringOwner(four, task('c71d2')), '192.168.1.10:8002', 'key 5ee1…')
  assert.equal(ringOwner(four, task('ffeca')), '127.0.0.1:8002', 'key 9fcd…, past the end')
  assert.equal(ringOwner(four, task('abcde')), '127.0.0.1:8002', 'key f4cd…, past the end')
  assert.equal(ringOwner([], task('00000')), undefined)
})

test('ringOrder() goes on along the ring from the owner', () => {
  const four = ['127.0.0.1:8002', '10.0.0.1:8002', '10.0.0.2:8002', '192.168.1.10:8002']
  assert.deepEqual(ringOrder(four, task('c71d2')), [
    '192.168.1.10:8002',
    '10.0.0.1:8002',
    '127.0.0.1:8002',
    '10.0.0.2:8002',
  ])
  assert.deepEqual(ringOrder([], task('c71d2')), [])
})

test('ringOrder() has each address once and begins with the owner', () => {
  fc.assert(
    fc.property(addresses, taskIds, (given, taskId) => {
      const order = ringOrder([...given, ...given], taskId)
      assert.deepEqual([...order].sort(), [...given].sort())
      assert.equal(order[0], ringOwner(given, taskId))
    }),
  )
})

test('ringOrder() does not depend on the order of the addresses and leaves them as they are', () => {
  const same = ['[::1]:80', '[0::1]:80', '[0:0::1]:80', '10.0.0.1:80']
  const lists = fc.oneof(addresses, fc.constant(same))
  const shuffled = lists.chain((given) =>
    fc.tuple(
      fc.constant(given),
      fc.shuffledSubarray(given, { minLength: given.length, maxLength: given.length }),
    ),
  )
  fc.assert(
    fc.property(shuffled, taskIds, ([given, other], taskId) => {
      const before = [...given]
      assert.deepEqual(ringOrder(given, taskId), ringOrder(other, taskId))
      assert.deepEqual(given, before)
    }),
  )
})

test('ringOrder() without one scheduler is the same order without it', () => {
  fc.assert(
    fc.property(addresses, taskIds, fc.nat(), (given, taskId, pick) => {
      const gone = given[pick % given.length]
      const rest = given.filter((address) => address !== gone)
      const expected = ringOrder(given, taskId).filter((address) => address !== gone)
      assert.deepEqual(ringOrder(rest, taskId), expected)
    }),
  )
})

test('ringOwner() always agrees with a search over all points', () => {
  fc.assert(
    fc.property(addresses, taskIds, (given, taskId) => {
      const key = ringKey(taskId)
      const points = given.map(ringPoint)
      const after = points.filter((point) => point >= key)
      const from = after.length > 0 ? after : points
      const smallest = from.reduce((a, b) => (a < b ? a : b))
      assert.equal(ringPoint(ringOwner(given, taskId) ?? ''), smallest)
    }),
  )
})
