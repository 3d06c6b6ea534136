import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { crc32 } from '../../src/hash/crc32.ts'
import { loadXxhash } from '../../src/hash/xxhash.ts'
import { loadFlow, type NativeFlow } from '../../src/util/flow.ts'
import { move, type Moved } from '../../src/util/flow-move.ts'
import { Content } from '../support/content.ts'
import { fdOf, socketPair } from '../support/socket-pair.ts'

const MiB = 1024 * 1024
const never = new AbortController().signal
const flow = loadFlow()

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

function needed(): NativeFlow {
  assert.ok(flow !== undefined)
  return flow
}

if (flow !== undefined) {
  for (const shared of [false, true]) {
    test(`NativeFlow.fill() receives into ${shared ? 'shared ' : ''}memory, digests it, and touches nothing beside it`, async (t) => {
      const length = 5 * MiB + 7
      const bytes = new Content(length).bytes(0, length)
      const { left, right } = await socketPair(t)
      const outer = new Uint8Array(
        shared ? new SharedArrayBuffer(length + 20) : new ArrayBuffer(length + 20),
      )
      const memory = outer.subarray(10, 10 + length)
      const sums = needed().sums(true)
      left.write(bytes)
      for (let at = 0; at < length; ) {
        const { count, socketFailed } = await filling(right, memory.subarray(at), sums, never)
        assert.equal(socketFailed, false)
        at += count
      }
      assert.equal(Buffer.compare(memory, bytes), 0)
      assert.deepEqual([...outer.subarray(0, 10), ...outer.subarray(-10)], Array(20).fill(0))
      assert.equal(needed().crc(sums), crc32(bytes))
      assert.equal(needed().xxh64(sums), (await loadXxhash()).h64(bytes))
    })
  }

  test('NativeFlow.fill() keeps memory alive that nobody else has, until it is told to end', async (t) => {
    const { left, right } = await socketPair(t)
    const stop = new AbortController()
    const collected: number[] = []
    const registry = new FinalizationRegistry((number: number) => void collected.push(number))
    const begun = (): Promise<Moved> => {
      const memory = new Uint8Array(MiB)
      registry.register(memory, 1)
      return filling(right, memory, needed().sums(false), stop.signal)
    }
    const moved = begun()
    for (let round = 0; round < 5; round++) {
      collectGarbage()
      await new Promise((resolve) => setImmediate(resolve))
    }
    assert.deepEqual(collected, [])
    stop.abort(new Error('stop'))
    await assert.rejects(moved, { message: 'stop' })
    while (collected.length === 0) {
      collectGarbage()
      await new Promise((resolve) => setImmediate(resolve))
    }
    left.end()
  })

  test('NativeFlow.largePages() takes memory with a whole page in it, and its bytes stay what they were', () => {
    const memory = new Uint8Array(64 * MiB)
    memory[5 * MiB] = 7
    const possible = existsSync('/sys/kernel/mm/transparent_hugepage')
    assert.equal(needed().largePages(memory), possible)
    assert.equal(needed().largePages(memory.subarray(1, 100)), false)
    assert.equal(memory[5 * MiB], 7)
    const moved = structuredClone(memory, { transfer: [memory.buffer] })
    assert.deepEqual([memory.length, moved.length, moved[5 * MiB]], [0, 64 * MiB, 7])
  })
}

function filling(
  socket: Socket,
  memory: Uint8Array,
  sums: Uint8Array,
  signal: AbortSignal,
): Promise<Moved> {
  return move(
    (done) => needed().fill(fdOf(socket), memory, done, sums),
    (id) => needed().cancel(id),
    signal,
  )
}
