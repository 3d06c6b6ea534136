import assert from 'node:assert/strict'
import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadXxhash, type Xxhash } from '../../src/hash/xxhash.ts'
import { DiskStore } from '../../src/storage/disk-store.ts'
import { Collector } from '../../src/storage/gc.ts'
import type { GcTask } from '../../src/storage/gc-policy.ts'
import { encodeRecord, type JournalRecord } from '../../src/storage/journal-record.ts'
import { geometry } from '../../src/task/piece.ts'
import { cleanup } from '../support/cleanup.ts'
import { code, never, readPiece, record } from './filling.ts'
import { ManualClock } from './manual-clock.ts'
import { contentPath, folder } from './prepared.ts'
import { measureTurns, type TurnsTaken } from './turns.ts'

/** Pieces that are collected. */
const pieceCount = 100_000
/** No turn of the event loop may be longer. */
const turnMsMax = 20

/** The first of a few tries that keeps to the limit: a collection of garbage by V8 in the wrong moment is none of the store's turns. */
async function shortTurns(what: string, run: () => Promise<TurnsTaken<unknown>>): Promise<void> {
  const seen: number[] = []
  for (let attempt = 0; attempt < 4; attempt++) {
    const { longestMs, count } = await run()
    assert.ok(count > 5, `${what}: ${count} turns`)
    seen.push(Math.round(longestMs))
    if (longestMs <= turnMsMax) return
  }
  assert.fail(`${what}: the longest turn took ${seen.join(', ')} ms`)
}

/** A store as a process would have left it that kept so many pieces. The content is of zeros, in files that take no room. */
function writeStore(dir: string, xxhash: Xxhash, tasks: number, pieces: number): void {
  const cut = geometry(pieces * 8, 8)
  const xxh64 = xxhash.h64(new Uint8Array(8))
  const lines = ['dragonfly-peer store 1\n']
  const add = (one: JournalRecord): void => {
    const text = encodeRecord(one)
    lines.push(`${xxhash.h64(Buffer.from(text)).toString(16).padStart(16, '0')} ${text}\n`)
  }
  mkdirSync(dir, { recursive: true })
  for (let key = 1; key <= tasks; key++) {
    const facts = record(`task ${key}`, { createdAt: 1, ttlMs: 10 })
    add({ is: 'task', key, record: facts, contentLength: cut.contentLength, pieceLength: 8 })
    for (let number = 0; number < pieces; number++) {
      add({ is: 'piece', key, number, crc: 1, xxh64, parentId: 'parent', createdAt: 1 })
    }
    mkdirSync(join(contentPath(dir, facts.id), '..'), { recursive: true })
    writeFileSync(contentPath(dir, facts.id), new Uint8Array(cut.contentLength))
  }
  writeFileSync(join(dir, 'journal'), lines.join(''))
}

test('Collector.collect() of 100 000 tasks keeps no turn of the event loop for long', async () => {
  await shortTurns('policy', async () => {
    const tasks = new Map<string, GcTask>()
    for (let at = 0; at < pieceCount; at++) {
      const usedAt = (at * 7919) % pieceCount
      tasks.set(`${at}`, {
        id: `${at}`,
        bytes: 1,
        usedAt,
        createdAt: 0,
        persistent: false,
        held: false,
      })
    }
    const collector = new Collector(
      {
        clock: new ManualClock(),
        tasks: () => tasks.values(),
        drop: async ({ id }) => void tasks.delete(id),
        capacity: () => Promise.resolve({ bytesUsed: pieceCount, bytesMax: pieceCount }),
      },
      { lowWater: 0.2 },
    )
    const taken = await measureTurns(() => collector.collect())
    assert.equal(tasks.size, pieceCount * 0.2)
    assert.ok([...tasks.values()].every(({ usedAt }) => usedAt >= pieceCount * 0.8))
    await collector.close()
    return taken
  })
})

for (const [tasks, pieces] of [
  [1000, pieceCount / 1000],
  [1, pieceCount],
] as const) {
  test(`DiskStore opens, collects and compacts ${tasks} × ${pieces} pieces without a long turn`, async (t) => {
    const dir = folder(t)
    const xxhash = await loadXxhash()
    // The first time is that of the compiler.
    writeStore(dir, xxhash, 1, 3000)
    await (await DiskStore.open({ dir })).close()
    rmSync(dir, { recursive: true })
    await shortTurns('all of it', async () => {
      writeStore(dir, xxhash, tasks, pieces)
      const clock = new ManualClock()
      const taken = await measureTurns(async () => {
        const store = await DiskStore.open({ dir, clock, gcIntervalMs: 1000 })
        try {
          assert.equal(store.usage().tasks, tasks)
          clock.advance(1000)
          while (store.usage().tasks > 0) await new Promise<void>((done) => setImmediate(done))
          // The next turn of the clock finds that nearly all of the journal is dead.
          while (statSync(join(dir, 'journal')).size > 10_000) {
            clock.advance(1000)
            await new Promise<void>((done) => setImmediate(done))
          }
        } finally {
          await store.close()
        }
      })
      rmSync(dir, { recursive: true })
      return taken
    })
  })
}

test('DiskStore saves the last uses of many tasks, and compacts a journal that is alive, without a long turn', async (t) => {
  const dir = folder(t)
  const xxhash = await loadXxhash()
  await shortTurns('uses', async () => {
    writeStore(dir, xxhash, 1500, 10)
    const store = await DiskStore.open({ dir })
    const before = statSync(join(dir, 'journal')).size
    for (const task of store.list()) {
      const open = await store.open({ taskId: task.record.id, kind: 'standard', number: 0 }, never)
      open.close()
    }
    const one = store.list()[0]
    assert.ok(one !== undefined)
    // More dead records than live ones, little by little.
    for (let round = 0; round < 20; round++) {
      const some = Array.from({ length: 1000 }, (_, at) => one.update({ validator: `${at}` }))
      await Promise.all(some)
    }
    const taken = await measureTurns(async () => {
      for (let round = 0; round < 40; round++) {
        const some = Array.from({ length: 100 }, (_, at) => one.update({ validator: `${at}` }))
        await Promise.all(some)
      }
      await store.close()
    })
    assert.ok(statSync(join(dir, 'journal')).size < 1.5 * before)
    rmSync(dir, { recursive: true })
    return taken
  })
})

test('DiskStore drops all of 100 000 pieces whose file was removed without a long turn', async (t) => {
  const dir = folder(t)
  const xxhash = await loadXxhash()
  await shortTurns('lost', async () => {
    writeStore(dir, xxhash, 1, pieceCount)
    const store = await DiskStore.open({ dir })
    cleanup(t, () => store.close())
    const task = store.list()[0]
    assert.ok(task !== undefined)
    rmSync(contentPath(dir, task.record.id))
    const taken = await measureTurns(() =>
      assert.rejects(readPiece(store, task, 5), code('STORE_CORRUPT')),
    )
    assert.equal(task.keptCount, 0)
    await store.close()
    rmSync(dir, { recursive: true })
    return taken
  })
})
