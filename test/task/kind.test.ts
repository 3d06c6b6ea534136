import assert from 'node:assert/strict'
import test from 'node:test'
import { kindOfRequestTag, kinds } from '../../src/task/kind.ts'

test('kinds have tags of their own, the answer next to the request', () => {
  const tags = Object.values(kinds).flatMap(({ requestTag, contentTag }) => [
    requestTag,
    contentTag,
  ])
  assert.deepEqual(tags, [0, 1, 2, 3, 4, 5])
  assert.deepEqual(
    Object.values(kinds).map(({ wireType }) => wireType),
    [0, 1, 2],
  )
})

test('kindOfRequestTag() knows requests, and nothing else', () => {
  assert.deepEqual(
    [0, 2, 4].map((tag) => kindOfRequestTag(tag)),
    ['standard', 'persistent', 'persistentCache'],
  )
  for (const tag of [1, 3, 5, 6, 7, 255, -1]) assert.equal(kindOfRequestTag(tag), undefined)
})
