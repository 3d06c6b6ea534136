import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pieceNews, pieceNewsInParts } from '../../src/peer/piece-news.ts'
import { MemoryStore } from '../../src/storage/memory-store.ts'
import type { KeptTask, Store } from '../../src/storage/store.ts'
import { geometry, type Piece } from '../../src/task/piece.ts'
import { systemClock } from '../../src/util/clock.ts'
import { deferred } from '../../src/util/deferred.ts'

const never = new AbortController().signal
const id = 'a'.repeat(64)

async function threePieces(): Promise<{ store: Store; task: KeptTask }> {
  const store = new MemoryStore({ bytesMax: 1 << 20, clock: systemClock })
  const record = { id, kind: 'standard' as const, createdAt: 0 }
  return { store, task: await store.create(record, geometry(30, 10)) }
}

async function keep(task: KeptTask, number: number): Promise<void> {
  const slot = await task.slot(number, never)
  assert.equal(slot.space()?.byteLength, 10)
  slot.fill(10)
  await task.commit(slot, { digest: await slot.finish(), parentId: '' })
}

function numberOf({ value }: IteratorResult<Piece, string>): number | string {
  return typeof value === 'string' ? value : value.number
}

test('pieceNews() tells what is here in the order of asking, then what comes, each once', async () => {
  const { store, task } = await threePieces()
  await keep(task, 1)
  const news = pieceNews(task, [2, 1, 0], deferred<void>().promise, never)
  assert.equal(numberOf(await news.next()), 1)
  const next = news.next()
  await keep(task, 0)
  assert.equal(numberOf(await next), 0)
  await keep(task, 2)
  assert.deepEqual((await news.next()).value, { number: 2, offset: 20, length: 10 })
  assert.deepEqual(await news.next(), { done: true, value: 'told' })
  await store.close()
})

test('pieceNewsInParts() tells what is here together, in parts, and what comes when it comes', async () => {
  const { store, task } = await threePieces()
  for (const number of [0, 1, 2]) await keep(task, number)
  const numbers = async (wanted: readonly number[], countMax: number): Promise<number[][]> => {
    const parts: number[][] = []
    for await (const part of pieceNewsInParts(task, wanted, undefined, never, countMax)) {
      parts.push(part.map(({ number }) => number))
    }
    return parts
  }
  assert.deepEqual(await numbers([2, 0, 1], 3), [[2, 0, 1]])
  assert.deepEqual(await numbers([2, 0, 1], 2), [[2, 0], [1]])
  assert.deepEqual(await numbers([2, 0, 7, 2], 64), [[2, 0]])
  await store.close()
  const { store: other, task: coming } = await threePieces()
  await keep(coming, 1)
  const parts = pieceNewsInParts(coming, [0, 1, 2], deferred<void>().promise, never, 64)
  assert.deepEqual((await parts.next()).value, [{ number: 1, offset: 10, length: 10 }])
  const next = parts.next()
  await keep(coming, 2)
  assert.deepEqual((await next).value, [{ number: 2, offset: 20, length: 10 }])
  await parts.return('aborted')
  await other.close()
})

test('pieceNews() ends when the run ends, after telling what it kept last', async () => {
  const { store, task } = await threePieces()
  const run = deferred<void>()
  const news = pieceNews(task, [0, 1, 2], run.promise, never)
  const next = news.next()
  await keep(task, 2)
  run.resolve()
  assert.equal(numberOf(await next), 2)
  assert.deepEqual(await news.next(), { done: true, value: 'ended' })
  await store.close()
})

test('pieceNews() ends at once when nothing is coming, when the task is dropped, and when the child goes', async () => {
  const { store, task } = await threePieces()
  assert.equal((await pieceNews(task, [0], undefined, never).next()).value, 'ended')
  const dropped = pieceNews(task, [0], deferred<void>().promise, never).next()
  const controller = new AbortController()
  const gone = pieceNews(task, [0], deferred<void>().promise, controller.signal).next()
  controller.abort()
  assert.equal((await gone).value, 'aborted')
  await store.delete(id)
  assert.equal((await dropped).value, 'dropped')
  await store.close()
})

test('pieceNews() ignores numbers that the task does not have', async () => {
  const { store, task } = await threePieces()
  await keep(task, 0)
  const news = pieceNews(task, [0, 3, 4_000_000_000], deferred<void>().promise, never)
  assert.equal(numberOf(await news.next()), 0)
  assert.deepEqual(await news.next(), { done: true, value: 'told' })
  await store.close()
})
