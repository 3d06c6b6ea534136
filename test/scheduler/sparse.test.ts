import assert from 'node:assert/strict'
import test from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import fc from 'fast-check'

import { schedulerLimits } from '../../src/scheduler/embedded/limits.ts'
import { Registry } from '../../src/scheduler/embedded/registry.ts'
import { SparseMap, SparseSet } from '../../src/scheduler/embedded/sparse.ts'
import { geometry } from '../../src/task/piece.ts'
import { VirtualClock } from '../sim/clock.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const steps = fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 3 })))

test('SparseMap does what a Map does', () => {
  fc.assert(
    fc.property(steps, (list) => {
      const sparse = new SparseMap<number, number>()
      const map = new Map<number, number>()
      for (const [at, [adds, key]] of list.entries()) {
        if (adds) {
          sparse.set(key, at)
          map.set(key, at)
        } else assert.equal(sparse.delete(key), map.delete(key))
        assert.equal(sparse.size, map.size)
        assert.equal(sparse.has(key), map.has(key))
        assert.equal(sparse.get(key), map.get(key))
        assert.deepEqual([...sparse], [...map])
        assert.deepEqual([...sparse.keys()], [...map.keys()])
        assert.deepEqual([...sparse.values()], [...map.values()])
      }
    }),
  )
})

test('SparseSet does what a Set does', () => {
  fc.assert(
    fc.property(steps, (list) => {
      const sparse = new SparseSet<number>()
      const set = new Set<number>()
      for (const [adds, value] of list) {
        if (adds) {
          sparse.add(value)
          set.add(value)
        } else assert.equal(sparse.delete(value), set.delete(value))
        assert.equal(sparse.size, set.size)
        assert.equal(sparse.has(value), set.has(value))
        const each: number[] = []
        sparse.forEach((one) => each.push(one))
        assert.deepEqual(each, [...set])
        assert.deepEqual([...sparse], [...set])
        assert.deepEqual([...sparse.keys()], [...set.keys()])
        assert.deepEqual([...sparse.values()], [...set.values()])
        assert.deepEqual([...sparse.entries()], [...set.entries()])
      }
    }),
  )
})

test('SparseSet may lose values while somebody goes through it, also the last', () => {
  const sparse = new SparseSet<number>()
  for (const value of [1, 2, 3]) sparse.add(value)
  const seen: number[] = []
  for (const value of sparse) {
    seen.push(value)
    sparse.delete(value)
  }
  assert.deepEqual(seen, [1, 2, 3])
  assert.equal(sparse.size, 0)
})

/** After everything that finalizers and promises still hold. */
async function heapBytes(): Promise<number> {
  for (let round = 0; round < 4; round++) {
    collectGarbage()
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
  return process.memoryUsage().heapUsed
}

test('Registry keeps a task that one host has in less than 1.75 KiB of heap, its ids included', async () => {
  const count = 5000
  const registry = new Registry(new VirtualClock(), schedulerLimits)
  const facts = { id: 'host', hostname: 'host', ip: '10.0.0.1', port: 4000, downloadPort: 4000 }
  const more = { type: 0, disableShared: false, own: true, name: '', os: '', maxTx: 1, tx: 0 }
  const host = registry.announceHost({ ...facts, ...more }, undefined)
  assert.ok(host !== undefined)
  const keepAll = (name: string): void => {
    for (let at = 0; at < count; at++) {
      const task = registry.ensureTask(`${name}-${at}`.padEnd(64, 'f'), 'standard')
      const wish = { never: false, needBackToSource: false, priority: 0, concurrency: 1 }
      const cut = geometry(1000, 4 * 1024 * 1024)
      assert.ok(task !== undefined)
      const peer = registry.addPeer(`${name}-${at}`, host, task, { ...wish, geometry: cut })
      assert.ok(peer !== undefined)
      peer.received('ReceivedNormal')
      registry.succeeded(peer)
    }
  }
  // Code is compiled, tables are grown.
  keepAll('warm-up')
  for (const task of registry.tasks) registry.removeTask(task)
  const before = await heapBytes()
  keepAll('task')
  const each = ((await heapBytes()) - before) / count
  assert.equal(registry.counts.tasks, count)
  assert.ok(each < 1792, `${each.toFixed(0)} B a task`)
})
