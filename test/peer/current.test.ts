import assert from 'node:assert/strict'
import test from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { versionToken } from '../../src/hash/version.ts'
import { changed, Current } from '../../src/peer/current.ts'
import type { KnownTask } from '../../src/scheduler/known-task.ts'
import type { KeptTask, TaskRecord } from '../../src/storage/store.ts'
import { geometry } from '../../src/task/piece.ts'
import type { OriginStat } from '../../src/task/ports.ts'
import { deferred } from '../../src/util/deferred.ts'
import { KeyedLock } from '../../src/util/keyed-lock.ts'
import { spec } from '../sim/content.ts'

const cut = geometry(30, 10)
const stat = (validator?: string, length = 30): OriginStat => ({
  length,
  ranges: true,
  headers: {},
  ...(validator === undefined ? {} : { validator }),
})

function taskOf(more: Partial<TaskRecord>, keptCount = 1): KeptTask {
  const task = {
    record: { id: spec.id, kind: spec.kind, createdAt: 0, ...more },
    geometry: cut,
    keptCount,
    complete: keptCount === cut.pieceCount,
    update: (change: Partial<TaskRecord>) => {
      Object.assign(task.record, change)
      return Promise.resolve()
    },
  }
  return task as Partial<KeptTask> as KeptTask
}

class Bench {
  readonly deleted: string[] = []
  readonly lock: KeyedLock = new KeyedLock()
  readonly task: KeptTask
  busy = false
  known: () => Promise<KnownTask | undefined> = () => Promise.resolve(undefined)
  readonly current: Current = new Current({
    scheduler: {
      statTask: () => this.known(),
      statPersistentCacheTask: () => Promise.resolve(undefined),
    },
    lock: this.lock,
    busy: () => this.busy,
  })

  constructor(more: Partial<TaskRecord> = {}, keptCount = 1) {
    this.task = taskOf(more, keptCount)
  }

  get kept(): Parameters<Current['usable']>[0] {
    const deleted = (id: string): Promise<boolean> => {
      this.deleted.push(id)
      return Promise.resolve(true)
    }
    return { task: this.task, store: { get: () => this.task, delete: deleted } }
  }

  /** The scheduler knows content of this length. */
  knows(contentLength: number): void {
    const known = { spec, geometry: geometry(contentLength, 10), state: 'Succeeded', peerCount: 1 }
    this.known = () => Promise.resolve(known)
  }
}

test('changed() compares length, validator and token', () => {
  const [v1, v2] = [stat('v1'), stat('v2')]
  assert.equal(changed(taskOf({}), v1), undefined)
  assert.equal(changed(taskOf({ validator: 'v1' }), stat()), undefined)
  assert.equal(changed(taskOf({ validator: 'v1' }), v1), undefined)
  assert.equal(changed(taskOf({ version: versionToken('v1') }), v1), undefined)
  assert.equal(changed(taskOf({ validator: 'v1' }), stat('v1', 31))?.what, 'length')
  assert.equal(changed(taskOf({ validator: 'v1' }), v2)?.what, 'etag')
  assert.equal(changed(taskOf({ version: versionToken('v1') }), v2)?.what, 'version')
})

test('Current.usable() drops a part of which nobody can say the version', async () => {
  const part = new Bench()
  assert.equal(await part.current.usable(part.kept, stat('v1')), false)
  assert.deepEqual(part.deleted, [spec.id])
  for (const [bench, asked] of [
    [new Bench(), undefined],
    [new Bench(), stat()],
    [new Bench({}, 3), stat('v1')],
    [new Bench({}, 0), stat('v1')],
    [new Bench({ version: versionToken('v1') }), stat('v1')],
  ] as const) {
    assert.equal(await bench.current.usable(bench.kept, asked), true)
  }
})

test('Current.usable() drops what was fetched in another version since the origin was asked', async () => {
  const records: Partial<TaskRecord>[] = [{ validator: 'v2' }, { version: versionToken('v2') }]
  for (const record of records) {
    const bench = new Bench(record, 3)
    assert.equal(await bench.current.usable(bench.kept, stat('v1')), false)
    assert.deepEqual(bench.task.record.validator, record.validator)
  }
})

test('Current.usable() writes down what the origin calls the version', async () => {
  const told = new Bench({ version: versionToken('v1') })
  await told.current.usable(told.kept, stat('v1'))
  assert.equal(told.task.record.validator, 'v1')
  const whole = new Bench({}, 3)
  await whole.current.usable(whole.kept, stat('v1'))
  assert.equal(whole.task.record.validator, undefined, 'nobody knows whether it is that')
})

test('Current.afterRun() drops what a run found to be outdated', async () => {
  const bench = new Bench({ version: versionToken('v1') })
  await bench.current.afterRun({ outdated: 'no' }, bench.kept)
  assert.deepEqual(bench.deleted, [])
  await bench.current.afterRun({ outdated: 'yes' }, bench.kept)
  assert.deepEqual(bench.deleted, [spec.id])
  assert.equal(await bench.current.usable(bench.kept, undefined), false)
})

test('Current.afterRun() leaves it to the next download when that has begun', async () => {
  const bench = new Bench()
  bench.busy = true
  await bench.current.afterRun({ outdated: 'yes' }, bench.kept)
  assert.deepEqual(bench.deleted, [])
})

test('Current.afterRun() asks for the length when nobody was there, and a download waits for the answer', async () => {
  const bench = new Bench()
  bench.knows(30)
  await bench.current.afterRun({ outdated: 'maybe' }, bench.kept)
  assert.deepEqual(bench.deleted, [])
  const { promise, resolve } = deferred<undefined>()
  bench.knows(31)
  const { known } = bench
  bench.known = () => promise.then(known)
  const after = bench.current.afterRun({ outdated: 'maybe' }, bench.kept)
  const usable = bench.current.usable(bench.kept, undefined)
  resolve(undefined)
  assert.equal(await usable, false)
  await after
})

test('Current.afterRun() keeps everything when the scheduler cannot be asked', async () => {
  const bench = new Bench()
  const details = { addresses: [], reason: 'Simulated' }
  const lost = new PeerError('SCHEDULER_UNAVAILABLE', 'Simulated', details)
  bench.known = () => Promise.reject(lost)
  await bench.current.afterRun({ outdated: 'maybe' }, bench.kept)
  assert.equal(await bench.current.usable(bench.kept, undefined), true)
})

test('Current.avoided() names versions that were incomplete, until a run goes otherwise', async () => {
  const current = new Bench().current
  const run = async (version: string | undefined, outdated: 'no' | 'maybe' | 'yes') => {
    const bench = new Bench(version === undefined ? {} : { version })
    await current.afterRun({ outdated }, bench.kept)
    return current.avoided(spec.id)
  }
  assert.deepEqual(await run('a', 'yes'), ['a'])
  assert.deepEqual(await run('b', 'yes'), ['a', 'b'])
  assert.deepEqual(await run(undefined, 'yes'), [])
  assert.deepEqual(await run('a', 'yes'), ['a'])
  assert.deepEqual(await run('b', 'no'), [])
  for (let at = 0; at < 100; at++) assert.ok((await run(`v${at}`, 'yes')).length <= 8)
})
