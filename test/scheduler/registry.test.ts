import assert from 'node:assert/strict'
import test from 'node:test'

import fc from 'fast-check'

import type { HostFacts } from '../../src/rpc/convert-host.ts'
import type { HostRecord } from '../../src/scheduler/embedded/host-record.ts'
import { type SchedulerLimits, schedulerLimits } from '../../src/scheduler/embedded/limits.ts'
import type { PeerRecord, PeerWish, TaskRecord } from '../../src/scheduler/embedded/records.ts'
import { Registry } from '../../src/scheduler/embedded/registry.ts'
import { publicUrl } from '../../src/scheduler/embedded/task-labels.ts'
import { geometry } from '../../src/task/piece.ts'
import { VirtualClock } from '../sim/clock.ts'

const cut = geometry(64, 4)
const plain: PeerWish = {
  geometry: cut,
  never: false,
  needBackToSource: false,
  priority: 0,
  concurrency: 1,
}

class Town {
  readonly clock: VirtualClock = new VirtualClock()
  readonly registry: Registry

  constructor(limits: Partial<SchedulerLimits> = {}) {
    this.registry = new Registry(this.clock, { ...schedulerLimits, ...limits })
  }

  host(id: string, intervalMs: number | undefined = 10_000): HostRecord {
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
    const host = this.registry.announceHost(facts, intervalMs)
    assert.ok(host !== undefined)
    return host
  }

  task(id = 'task'): TaskRecord {
    const task = this.registry.ensureTask(id, 'standard')
    assert.ok(task !== undefined)
    return task
  }

  peer(id: string, host: HostRecord, task: TaskRecord, wish: PeerWish = plain): PeerRecord {
    const peer = this.registry.addPeer(id, host, task, wish)
    assert.ok(peer !== undefined)
    peer.received('ReceivedNormal')
    return peer
  }
}

test('PeerRecord keeps to the arrows of a download', () => {
  const town = new Town()
  const arrows: Record<string, (peer: PeerRecord) => void> = {
    received: (peer) => peer.received('ReceivedNormal'),
    ordered: (peer) => peer.ordered(1),
    started: (peer) => peer.started(),
    sourceStarted: (peer) => peer.sourceStarted(1),
    uploading: (peer) => peer.uploading(),
    succeeded: (peer) => peer.succeeded(1),
    failed: (peer) => peer.failed(1, 'because'),
    left: (peer) => peer.left(),
  }
  const ways: readonly [string, string][] = [
    ['', 'Pending'],
    ['received', 'ReceivedNormal'],
    ['received ordered', 'ReceivedNormal'],
    ['received started', 'Running'],
    ['received started started', 'Running'],
    ['received started sourceStarted', 'BackToSource'],
    ['received ordered sourceStarted', 'BackToSource'],
    ['received started sourceStarted started', 'BackToSource'],
    ['received started succeeded', 'Succeeded'],
    ['received succeeded', 'Succeeded'],
    ['received started sourceStarted succeeded', 'Succeeded'],
    ['uploading', 'Uploading'],
    ['uploading succeeded', 'Succeeded'],
    ['uploading failed', 'Failed'],
    ['received uploading', 'ReceivedNormal'],
    ['started', 'Pending'],
    ['succeeded', 'Pending'],
    ['sourceStarted', 'Pending'],
    ['failed', 'Failed'],
    ['received started succeeded failed', 'Succeeded'],
    ['received failed succeeded', 'Failed'],
    ['received failed started', 'Failed'],
    ['received started succeeded left', 'Leave'],
  ]
  for (const [way, state] of ways) {
    const task = town.task(way || 'none')
    const host = town.host('h')
    const peer = town.registry.addPeer('p', host, task, plain)
    assert.ok(peer !== undefined)
    for (const step of way.split(' ')) arrows[step]?.(peer)
    assert.equal(peer.state.is, state, way)
    assert.equal(peer.orderedMs, way === 'received ordered' ? 1 : undefined, way)
  }
})

test('Registry.bind() replaces the parents of a child, and knows the depth', () => {
  const town = new Town()
  const task = town.task()
  const [a, b, c] = ['a', 'b', 'c'].map((id) => town.peer(id, town.host(id), task))
  assert.ok(a !== undefined && b !== undefined && c !== undefined)
  town.registry.bind(b, [a])
  town.registry.bind(c, [a, b])
  assert.deepEqual([a.depth, b.depth, c.depth], [0, 1, 1])
  assert.deepEqual([...a.children], [b, c])
  town.registry.bind(c, [b])
  assert.equal(c.depth, 2)
  assert.deepEqual([...a.children], [b])
  town.registry.cut(c)
  assert.equal(c.depth, 0)
  assert.equal(b.children.size, 0)
})

test('Registry.bind() tells the length to a child that did not know it', () => {
  const town = new Town()
  const task = town.task()
  const parent = town.peer('a', town.host('a'), task)
  const { geometry: _, ...unknown } = plain
  const child = town.peer('b', town.host('b'), task, unknown)
  town.registry.bind(child, [parent])
  assert.deepEqual(child.geometry, cut)
})

test('Registry.failed() frees parents and children', () => {
  const town = new Town()
  const task = town.task()
  const [a, b, c] = ['a', 'b', 'c'].map((id) => town.peer(id, town.host(id), task))
  assert.ok(a !== undefined && b !== undefined && c !== undefined)
  town.registry.bind(b, [a])
  town.registry.bind(c, [b])
  town.registry.failed(b, 'because')
  assert.equal(a.children.size, 0)
  assert.equal(c.parents.size, 0)
  assert.equal(b.state.is, 'Failed')
})

test('Registry.succeeded() keeps one record of one content on one host', () => {
  const town = new Town()
  const task = town.task()
  const host = town.host('h')
  const finish = (id: string, wish: PeerWish = plain): PeerRecord => {
    const peer = town.peer(id, host, task, wish)
    peer.started()
    town.registry.succeeded(peer)
    return peer
  }
  const running = town.peer('running', host, task)
  const part = finish('part', { ...plain, range: { start: 0, length: 8 } })
  part.persistent = true
  finish('other part', { ...plain, range: { start: 16, length: 8 } })
  assert.equal(task.peers.size, 3)
  const whole = finish('whole')
  assert.deepEqual([...task.peers.values()], [running, whole])
  assert.equal(whole.persistent, true)
  finish('whole again')
  assert.deepEqual([...task.peers.keys()], ['running', 'whole again'])
})

test('Registry.addPeer() replaces a peer that has the same id', () => {
  const town = new Town()
  const task = town.task()
  const before = town.peer('p', town.host('a'), task)
  const now = town.peer('p', town.host('b'), task)
  assert.equal(before.state.is, 'Leave')
  assert.equal(task.peers.get('p'), now)
  town.registry.failed(before, 'late')
  assert.equal(now.state.is, 'ReceivedNormal')
  assert.equal(town.registry.counts.peers, 1)
})

test('Registry.sweep() drops hosts after two silent intervals, with their peers', async () => {
  const town = new Town()
  const task = town.task()
  town.peer('a', town.host('a', 10_000), task)
  const forEver = town.registry.announceHost({ ...town.host('b').facts }, undefined)
  assert.ok(forEver !== undefined)
  town.peer('b', forEver, task)
  await town.clock.pass(20_000)
  assert.deepEqual(town.registry.sweep(), [])
  await town.clock.pass(1)
  assert.deepEqual(town.registry.sweep(), [task])
  assert.equal(town.registry.host('a'), undefined)
  assert.deepEqual([...task.peers.keys()], ['b'])
})

test('Registry.sweep() drops failed peers and idle tasks after their time', async () => {
  const town = new Town({ failedKeptMs: 1_000, idleTaskMs: 5_000 })
  const host = town.host('a', 1_000_000)
  const peer = town.peer('p', host, town.task())
  town.registry.failed(peer, 'because')
  await town.clock.pass(999)
  town.registry.sweep()
  assert.equal(town.registry.counts.peers, 1)
  await town.clock.pass(1)
  town.registry.sweep()
  assert.equal(town.registry.counts.peers, 0)
  await town.clock.pass(4_999)
  town.registry.sweep()
  assert.equal(town.registry.counts.tasks, 1)
  await town.clock.pass(1)
  town.registry.sweep()
  assert.equal(town.registry.counts.tasks, 0)
})

test('Registry stays within its bounds', () => {
  const town = new Town({ hostsMax: 2, tasksMax: 2, peersMax: 4, taskPeersMax: 2 })
  const a = town.host('a')
  town.host('b')
  assert.equal(town.registry.announceHost({ ...a.facts, id: 'c' }, 1), undefined)
  assert.equal(town.registry.announceHost(a.facts, 1), a)
  const one = town.task('one')
  town.task('two')
  town.peer('1', a, one)
  // The idle one makes room.
  const three = town.task('three')
  assert.equal(town.registry.task('two'), undefined)
  town.peer('2', a, three)
  assert.equal(town.registry.ensureTask('four', 'standard'), undefined)
  const holder = town.peer('3', a, one)
  assert.equal(town.registry.addPeer('4', a, one, plain), undefined)
  holder.started()
  holder.succeeded(0)
  town.peer('4', a, one)
  assert.deepEqual([...one.peers.keys()], ['1', '4'])
  town.peer('5', a, three)
  assert.equal(town.registry.addPeer('6', a, three, plain), undefined)
  assert.equal(town.registry.counts.peers, 4)
})

test('Registry keeps its edges and counts together, whatever happens', () => {
  const steps = fc.array(fc.tuple(fc.nat(6), fc.nat(9), fc.nat(9), fc.nat(9)), { maxLength: 80 })
  fc.assert(
    fc.property(steps, (list) => {
      const town = new Town({ taskPeersMax: 8 })
      const task = town.task()
      for (const [step, x, y, z] of list) {
        const host = town.registry.host(`h${x % 4}`) ?? town.host(`h${x % 4}`)
        const peers = [...task.peers.values()]
        const [a, b, c] = [peers[x], peers[y], peers[z]]
        if (step === 0)
          town.registry.addPeer(`p${x}`, host, task, plain)?.received('ReceivedNormal')
        else if (a === undefined) continue
        else if (step === 1) town.registry.failed(a, 'because')
        else if (step === 2) town.registry.succeeded(a)
        else if (step === 3) town.registry.removePeer(a)
        else if (step === 4) town.registry.removeHost(host)
        else if (step === 5) a.started()
        else if (b !== undefined && c !== undefined && b !== a && c !== a) {
          town.registry.bind(a, [b, c])
        }
      }
      assert.equal(town.registry.counts.peers, task.peers.size)
      for (const peer of task.peers.values()) {
        assert.ok(town.registry.peersOf(peer.host).has(peer))
        for (const parent of peer.parents) {
          assert.ok(parent.children.has(peer))
          assert.equal(task.peers.get(parent.id), parent)
        }
        for (const child of peer.children) assert.ok(child.parents.has(peer))
        if (peer.state.is === 'Failed') assert.equal(peer.children.size + peer.parents.size, 0)
      }
    }),
  )
})

test('PeerRecord.ban() lasts longer each time, and ends when the parent stands otherwise', async () => {
  const town = new Town()
  const task = town.task()
  const child = town.peer('child', town.host('c'), task)
  const parent = town.peer('parent', town.host('p'), task)
  parent.started()
  child.ban(parent, 0, 1_000)
  assert.equal(child.bans(parent, 999), true)
  assert.equal(child.bans(parent, 1_000), false)
  child.ban(parent, 1_000, 1_000)
  assert.equal(child.bans(parent, 2_999), true)
  assert.equal(child.nextBanEndMs(1_500), 3_000)
  parent.has(3)
  assert.equal(child.bans(parent, 1_500), false)
  child.ban(parent, 1_500, 1_000)
  assert.equal(child.bans(parent, 1_500), true)
  parent.sourceStarted(1_600)
  assert.equal(child.bans(parent, 1_600), false)
  assert.equal(child.nextBanEndMs(1_000_000), undefined)
})

test('publicUrl() shows no URL that may hold a secret', () => {
  const cases: readonly [string | undefined, boolean][] = [
    ['http://origin.test/file', true],
    ['https://origin.test', true],
    ['s3://bucket/key', true],
    ['http://origin.test/file?token=x', false],
    ['http://user:pass@origin.test/file', false],
    ['http://origin.test/file#x', false],
    ['not a url', false],
    ['', false],
    [undefined, false],
  ]
  for (const [url, shown] of cases) assert.equal(publicUrl(url), shown ? url : undefined)
})
