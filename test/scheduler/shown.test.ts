import assert from 'node:assert/strict'
import test from 'node:test'

import type { HostFacts } from '../../src/rpc/convert-host.ts'
import { schedulerLimits } from '../../src/scheduler/embedded/limits.ts'
import type { PeerRecord, PeerWish, TaskRecord } from '../../src/scheduler/embedded/records.ts'
import { Registry } from '../../src/scheduler/embedded/registry.ts'
import { shown } from '../../src/scheduler/embedded/shown.ts'
import { geometry } from '../../src/task/piece.ts'
import { VirtualClock } from '../sim/clock.ts'

const wish: PeerWish = {
  geometry: geometry(64, 4),
  never: false,
  needBackToSource: false,
  priority: 0,
  concurrency: 1,
}

class Town {
  readonly registry: Registry = new Registry(new VirtualClock(), schedulerLimits)

  host(id: string): void {
    const facts: HostFacts = {
      id,
      hostname: id,
      ip: '10.0.0.1',
      port: 4000,
      downloadPort: 4000,
      type: 0,
      disableShared: false,
      own: false,
      name: '',
      os: '',
      maxTx: 1,
      tx: 0,
    }
    assert.ok(this.registry.announceHost(facts, 10_000) !== undefined)
  }

  /** A task with peers on the first host. */
  task(id: string, peers: number): TaskRecord {
    const task = this.registry.ensureTask(id, 'standard')
    const host = this.registry.host('host-0')
    assert.ok(task !== undefined && host !== undefined)
    for (let at = 0; at < peers; at += 1) {
      assert.ok(this.registry.addPeer(`${id}-${at}`, host, task, wish) !== undefined)
    }
    return task
  }
}

function end(peers: Iterable<PeerRecord>): void {
  for (const peer of peers) peer.failed(0, 'over')
}

test('shown() tells everything of a small site, in the order of peers, and leaves nothing out', () => {
  const town = new Town()
  town.host('host-0')
  const tasks = [town.task('a', 3), town.task('b', 0)]
  const { hosts, tasks: told, leftOut } = shown(town.registry, [])
  assert.deepEqual(leftOut, { hosts: 0, tasks: 0, peers: 0 })
  assert.deepEqual(
    hosts.map(({ id }) => id),
    ['host-0'],
  )
  assert.deepEqual(new Set(told.map(({ task }) => task)), new Set(tasks))
  const [first] = told
  assert.deepEqual(
    first?.peers.map(({ id }) => id),
    ['a-0', 'a-1', 'a-2'],
  )
})

test('shown() tells of a large site what is waited for, what is unfinished, and what is newest', () => {
  const town = new Town()
  for (let at = 0; at < 1100; at += 1) town.host(`host-${at}`)
  const waited = town.task('waited', 0)
  const unfinished = town.task('unfinished', 1)
  for (let at = 0; at < 5000; at += 1) end(town.task(`task-${at}`, 1).peers.values())
  const { hosts, tasks, leftOut } = shown(town.registry, [waited])
  assert.deepEqual([hosts.length, tasks.length], [1024, 256])
  assert.deepEqual(
    tasks.slice(0, 3).map(({ task }) => task.id),
    [waited.id, unfinished.id, 'task-4999'],
  )
  assert.equal(tasks.at(-1)?.task.id, 'task-4746')
  assert.deepEqual(leftOut, { hosts: 76, tasks: 5002 - 256, peers: 5001 - 255 })
})

test('shown() tells of large tasks the unfinished peers first, a bounded number of all', () => {
  const town = new Town()
  town.host('host-0')
  const large = ['a', 'b', 'c'].map((id) => town.task(id, 1000))
  for (const { peers } of large) end([...peers.values()].slice(0, 990))
  const { tasks, leftOut } = shown(town.registry, [])
  assert.deepEqual(
    tasks.map(({ task, peers }) => [task.id, peers.length]),
    [
      ['c', 1000],
      ['b', 1000],
      ['a', 48],
    ],
  )
  assert.equal(tasks[2]?.peers.filter(({ isOver }) => !isOver).length, 10)
  assert.deepEqual(leftOut, { hosts: 0, tasks: 0, peers: 3000 - 2048 })
})
