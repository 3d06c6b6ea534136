import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeRecord, encodeRecord, type JournalRecord } from '../../src/storage/journal-record.ts'
import { Recovery } from '../../src/storage/recovery.ts'
import { record } from './filling.ts'

/** Like what JSON makes. */
function fields<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true })
}

const wide = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn })
const whole = fc.nat(Number.MAX_SAFE_INTEGER)
const stamp = fields({ dev: wide, ino: wide, size: wide, mtimeNs: wide, ctimeNs: wide })
const taskRecord = fc
  .record({ url: fc.string({ unit: 'binary' }), tag: fc.string(), ttlMs: whole })
  .map((more) => record('any', more))

const anyRecord: fc.Arbitrary<JournalRecord> = fc.oneof(
  fields({
    is: fc.constant('task' as const),
    key: whole,
    record: taskRecord,
    contentLength: whole,
    pieceLength: whole,
  }),
  fields({ is: fc.constant('record' as const), key: whole, record: taskRecord }),
  fields({
    is: fc.constant('piece' as const),
    key: whole,
    number: whole,
    crc: fc.nat(0xffff_ffff),
    xxh64: wide,
    parentId: fc.string({ unit: 'binary' }),
    createdAt: whole,
  }),
  fields({ is: fc.constant('damaged' as const), key: whole, number: whole }),
  fields({
    is: fc.constant('file' as const),
    key: whole,
    ownership: fc.constant('adopted' as const),
    path: fc.string({ unit: 'binary' }),
    stamp,
  }),
  fields({
    is: fc.constant('file' as const),
    key: whole,
    ownership: fc.constantFrom('own' as const, 'linked' as const),
  }),
  fields({ is: fc.constant('used' as const), key: whole, usedAt: whole }),
  fields({ is: fc.constant('deleted' as const), key: whole }),
)

test('decodeRecord() gives back what encodeRecord() was given, on one line', () => {
  fc.assert(
    fc.property(anyRecord, (given) => {
      const text = encodeRecord(given)
      assert.ok(!text.includes('\n'))
      assert.deepEqual(decodeRecord(text), given)
    }),
  )
})

test('decodeRecord() takes no other text, and throws at none', () => {
  for (const text of ['', '{', 'null', '[]', '{"is":"task","key":1}', '{"is":"new","key":1}']) {
    assert.equal(decodeRecord(text), undefined)
  }
  const keys = ['is', 'key', 'record', 'number', 'crc', 'xxh64', 'ownership', 'path', 'usedAt']
  const value = fc.oneof(fc.jsonValue(), fc.constantFrom('task', 'piece', 'file', 'used', 'own'))
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...keys), value), (given) => {
      const decoded = decodeRecord(JSON.stringify(given))
      if (decoded !== undefined) assert.equal(decoded.key, given['key'])
    }),
  )
  fc.assert(fc.property(fc.string(), (text) => void decodeRecord(text)))
})

test('decodeRecord() takes no number that JSON would write down otherwise', () => {
  const task = (more: string) =>
    `{"is":"record","key":1,"record":{"id":"a","kind":"standard","url":"u","createdAt":1${more}}}`
  assert.notEqual(decodeRecord(task('')), undefined)
  assert.notEqual(decodeRecord(task(',"more":{"deep":[0,-1.5,null,"-0"]}')), undefined)
  for (const number of ['-0', '-0.0', '-1e-999', '1e999', '-1e999']) {
    assert.equal(decodeRecord(task(`,"createdAt":${number}`)), undefined)
    assert.equal(decodeRecord(task(`,"ttlMs":${number}`)), undefined)
    assert.equal(decodeRecord(task(`,"more":{"deep":[${number}]}`)), undefined)
    assert.equal(decodeRecord(`{"is":"used","key":1,"usedAt":${number}}`), undefined)
    assert.equal(decodeRecord(`{"is":"deleted","key":${number}}`), undefined)
  }
})

test('decodeRecord() takes nothing deeper than a record is', () => {
  const nested = (depth: number) => `{"is":"record","key":1,"record":{"id":"a","kind":"standard",\
"url":"u","createdAt":1,"more":${'['.repeat(depth)}${']'.repeat(depth)}}}`
  assert.notEqual(decodeRecord(nested(3)), undefined)
  assert.equal(decodeRecord(nested(5)), undefined)
  assert.equal(decodeRecord(nested(100_000)), undefined)
})

test('Recovery.play() throws at no record', () => {
  fc.assert(
    fc.property(fc.array(anyRecord, { maxLength: 20 }), (records) => {
      const recovery = new Recovery()
      for (const played of records) recovery.play({ ...played, key: played.key % 2 })
      for (const { table, cut } of recovery.tasks().values()) {
        assert.ok(table.count <= cut.pieceCount)
      }
    }),
  )
})

test('Recovery.play() comes to the same when a record is repeated at the end of what it is in', () => {
  const piece = { crc: 1, xxh64: 2n, parentId: '', createdAt: 3 }
  const task = { is: 'task', key: 1, record: record(), contentLength: 30, pieceLength: 10 } as const
  const records: JournalRecord[] = [
    task,
    { is: 'piece', key: 1, number: 0, ...piece },
    { is: 'piece', key: 1, number: 1, ...piece },
    { is: 'damaged', key: 1, number: 1 },
    { is: 'file', key: 1, ownership: 'linked' },
  ]
  const once = new Recovery()
  for (const played of records) assert.equal(once.play(played), true)
  const twice = new Recovery()
  for (const played of [...records, ...records]) assert.equal(twice.play(played), true)
  const [left] = once.tasks().values()
  const [right] = twice.tasks().values()
  assert.deepEqual([...(left?.table.numbers() ?? [])], [0])
  assert.deepEqual([...(right?.table.numbers() ?? [])], [0])
  assert.deepEqual([left?.ownership, right?.ownership], ['linked', 'linked'])
  assert.equal(twice.nextKey, 2)
  assert.equal(twice.play({ is: 'deleted', key: 1 }), true)
  assert.equal(twice.play({ is: 'piece', key: 1, number: 0, ...piece }), true)
  assert.equal(twice.tasks().size, 0)
  assert.equal(twice.nextKey, 2)
  assert.equal(once.play({ is: 'piece', key: 1, number: 3, ...piece }), false)
  assert.equal(once.play({ ...task, key: 9, pieceLength: 0 }), false)
})
