import assert from 'node:assert/strict'
import test from 'node:test'

import { create } from '@bufbuild/protobuf'
import {
  AnnouncePeerRequestSchema,
  AnnouncePersistentCachePeerRequestSchema,
} from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { cacheDialect, standardDialect } from '../../src/scheduler/embedded/server-dialect.ts'
import { reportsMax } from '../../src/scheduler/report-queue.ts'

function told(ownNumbers: number[]) {
  const value = { piece: { number: 7, parentId: 'p' }, ownNumbers }
  return { request: { case: 'downloadPieceFinishedRequest', value } } as const
}

test('ServerDialect.read() takes the pieces that are told together, and no more than a child may have waiting', () => {
  for (const [ownNumbers, numbers] of [
    [[], [7]],
    [
      [8, 2],
      [7, 8, 2],
    ],
  ] as const) {
    const event = { is: 'piece', numbers, parentId: 'p' }
    const message = told([...ownNumbers])
    assert.deepEqual(standardDialect.read(create(AnnouncePeerRequestSchema, message)), event)
    const cached = create(AnnouncePersistentCachePeerRequestSchema, message)
    assert.deepEqual(cacheDialect.read(cached), event)
  }
  const many = told(Array.from({ length: 10 * reportsMax }, (_, number) => number))
  const event = standardDialect.read(create(AnnouncePeerRequestSchema, many))
  assert.ok(typeof event !== 'string' && event.is === 'piece')
  assert.equal(event.numbers.length, reportsMax + 1)
})

test('ServerDialect.write() says that pieces may be told together', () => {
  const standard = standardDialect.write({ is: 'parents', parents: [] })?.response
  assert.ok(standard?.case === 'normalTaskResponse' && standard.value.ownSeveral === true)
  const cached = cacheDialect.write({ is: 'parents', parents: [] })?.response
  assert.ok(cached?.case === 'normalPersistentCacheTaskResponse')
  assert.equal(cached.value.ownSeveral, true)
})
