import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  keptMemoriesMax,
  keptMemoryBytesMax,
  TransferMemory,
} from '../../../src/peer/local/transfer-memory.ts'

const never = new AbortController().signal

test('TransferMemory.lend() uses memory again, cut to what is wanted', async () => {
  const memory = new TransferMemory(100)
  const first = await memory.lend(60, never)
  const { buffer } = first.bytes
  assert.equal(first.bytes.length, 60)
  assert.equal(memory.lentBytes, 60)
  first[Symbol.dispose]()
  first[Symbol.dispose]()
  assert.equal(memory.lentBytes, 0)
  const second = await memory.lend(40, never)
  assert.equal(second.bytes.buffer, buffer)
  assert.equal(second.bytes.length, 40)
  const third = await memory.lend(60, never)
  assert.notEqual(third.bytes.buffer, buffer)
})

test('TransferMemory keeps a few memories, the longest, and none that is very long', async () => {
  const memory = new TransferMemory(100 * keptMemoryBytesMax)
  const long = await memory.lend(keptMemoryBytesMax + 1, never)
  const { buffer } = long.bytes
  long[Symbol.dispose]()
  assert.notEqual((await memory.lend(1, never)).bytes.buffer, buffer)
  const lengths = Array.from({ length: keptMemoriesMax + 1 }, (_, at) => 10 + at)
  const loans = await Promise.all(lengths.map((length) => memory.lend(length, never)))
  const buffers = loans.map(({ bytes }) => bytes.buffer)
  for (const loan of loans) loan[Symbol.dispose]()
  const again = await Promise.all(lengths.map(() => memory.lend(1, never)))
  const reused = again.map(({ bytes }) => bytes.buffer).filter((one) => buffers.includes(one))
  assert.equal(reused.length, keptMemoriesMax)
  assert.ok(!reused.includes(buffers[0] as ArrayBuffer))
})
