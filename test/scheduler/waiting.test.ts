import assert from 'node:assert/strict'
import test from 'node:test'

import { Code, ConnectError } from '@connectrpc/connect'

import { ownPlatform } from '../../src/rpc/convert-host.ts'
import type { Peer } from '../../src/rpc/gen/common/v2/common_pb.ts'
import { type Child, mib, type Told, wish } from './child.ts'
import { Site } from './site.ts'

const source = 'needBackToSourceResponse'
const never = { disableBackToSource: true }

test('EmbeddedScheduler sends the first of many to the origin, and the others to it and to each other', async (t) => {
  const site = new Site(t)
  const children: Child[] = []
  for (let at = 0; at < 12; at++) {
    const host = await site.own(`h${at}`)
    children.push(site.child(host).register(wish()))
    await site.clock.settle()
  }
  const [first, ...others] = children
  assert.equal((await first?.next())?.case, source)
  const answers = others.map((child) => child.next())
  assert.equal(await site.now(Promise.race(answers)), 'nothing')
  first?.sourceStarted()
  for (const told of await Promise.all(answers)) {
    assert.ok(told?.case === 'normalTaskResponse')
    assert.ok(told.value.candidateParents.length >= 2)
  }
  assert.equal(site.clock.now(), 0)
})

test('EmbeddedScheduler orders the origin anew when the peer that was sent there fails', async (t) => {
  const site = new Site(t)
  for (const id of ['a', 'b', 'c']) await site.host(id)
  const first = site.child('a').register(wish())
  assert.equal((await first.next())?.case, source)
  const second = site.child('b').register(wish())
  const third = site.child('c').register(wish())
  const answers = [second.next(), third.next()]
  assert.equal(await site.now(Promise.race(answers)), 'nothing')
  first.vanish()
  assert.equal((await answers[0])?.case, source)
  const last = answers[1] ?? Promise.reject(new Error('missing'))
  assert.equal(await site.now(last), 'nothing')
  second.sourceStarted()
  assert.equal((await last)?.case, 'normalTaskResponse')
})

test('EmbeddedScheduler waits only so long for a peer to go to the origin', async (t) => {
  const site = new Site(t, { sourceStartMs: 5_000 })
  await site.host('a')
  await site.host('b')
  const first = site.child('a').register(wish())
  assert.equal((await first.next())?.case, source)
  const told = site.child('b').register(wish()).next()
  await site.now(told)
  await site.clock.pass(4_990)
  assert.equal(await site.now(told), 'nothing')
  await site.clock.pass(20)
  assert.equal((await told)?.case, source)
})

test('EmbeddedScheduler orders the origin once when its reader dies under many', async (t) => {
  const site = new Site(t)
  await site.own('reader')
  const reader = await site.reader('reader', wish())
  const children: { readonly child: Child; readonly parents: readonly Peer[] }[] = []
  for (let at = 0; at < 8; at++) {
    const child = site.child(await site.own(`h${at}`)).register(wish())
    const parents = await child.parents()
    child.started().piece(0, reader.id)
    children.push({ child, parents })
  }
  await site.clock.settle()
  reader.vanish()
  await site.clock.settle()
  const answers = children.map(({ child, parents }) => child.reschedule(parents).next())
  const first = await Promise.any(answers)
  assert.equal(first?.case, source)
  for (let turn = 0; turn < 10; turn++) await site.clock.settle()
  const { tasks } = site.explain()
  assert.equal(tasks[0]?.waiting.length, 7)
  const told: Told[] = []
  for (const [at, answer] of answers.entries()) {
    void answer.then((one) => {
      told.push(one)
      if (one?.case === source) children[at]?.child.sourceStarted()
    })
  }
  await site.now(Promise.all(answers))
  assert.equal(told.filter((one) => one?.case === source).length, 1)
  assert.equal(told.filter((one) => one?.case === 'normalTaskResponse').length, 7)
})

test('EmbeddedScheduler never sends a download without origin there, whatever happens', async (t) => {
  const site = new Site(t)
  const seedDownloads = await site.seed('seed')
  await site.host('a', { build: { platform: ownPlatform } }, 3_600_000)
  await site.host('b', {}, 3_600_000)
  const waiting = site.child('a').register(wish(16, never)).next()
  await site.now(waiting)
  await site.clock.pass(600_000)
  assert.equal(await site.now(waiting), 'nothing')
  assert.equal(seedDownloads.length, 0)
  const holder = site.child('b').register(wish(16, { metadataOnly: true }))
  await holder.next()
  assert.equal(await site.now(waiting), 'nothing')
  holder.started().done()
  assert.equal((await waiting)?.case, 'normalTaskResponse')
})

test('EmbeddedScheduler refuses a daemon that may not go to the origin, once nobody else can', async (t) => {
  const site = new Site(t)
  for (const id of ['a', 'b', 'c']) await site.host(id)
  const alone = site.child('a').register(wish(16, never)).next()
  await assert.rejects(alone, (error) => ConnectError.from(error).code === Code.FailedPrecondition)
  const reader = site.child('b').register(wish())
  assert.equal((await reader.next())?.case, source)
  // Somebody is on the way there: worth waiting for.
  const waiting = site.child('c').register(wish(16, never)).next()
  assert.equal(await site.now(waiting), 'nothing')
  reader.sourceStarted()
  assert.equal((await waiting)?.case, 'normalTaskResponse')
})

test('EmbeddedScheduler sends a seed for a daemon that may not go to the origin itself', async (t) => {
  const site = new Site(t)
  const orders: boolean[] = []
  await site.own('seed', { type: 1 })
  await site.host('a')
  site.onCall('seed', {
    download: async (download) => {
      orders.push(download?.disableBackToSource ?? true)
      const child = site.child('seed').register(download ?? {})
      assert.equal((await child.next())?.case, source)
      child.sourceStarted().piece(0)
    },
  })
  const child = site.child('a').register(wish(16, { ...never, priority: 6 }))
  assert.equal((await child.parents()).length, 1)
  assert.deepEqual(orders, [false])
  const unseeded = site
    .child('a')
    .register(wish(16, { ...never, priority: 3 }))
    .next()
  assert.equal((await unseeded)?.case, 'normalTaskResponse')
})

test('EmbeddedScheduler offers a banned parent again after a while, when there is no other way', async (t) => {
  const site = new Site(t, { banMs: 15_000 })
  await site.host('holder')
  await site.own('a')
  const holder = site.child('holder').register(wish(16, { metadataOnly: true }))
  await holder.next()
  holder.started().done()
  await holder.next()
  const child = site.child('a').register(wish(16, never))
  const parents = await child.parents()
  const again = child.started().reschedule(parents).next()
  await site.now(again)
  await site.clock.pass(14_000)
  assert.equal(await site.now(again), 'nothing')
  await site.clock.pass(1_100)
  assert.equal((await again)?.case, 'normalTaskResponse')
})

test('EmbeddedScheduler offers a banned parent at once when it has got more', async (t) => {
  const site = new Site(t)
  await site.own('reader')
  await site.own('a')
  const reader = await site.reader('reader', wish())
  const child = site.child('a').register(wish(16, never))
  const again = child
    .started()
    .reschedule(await child.parents())
    .next()
  assert.equal(await site.now(again), 'nothing')
  reader.piece(3)
  await site.now(again)
  await site.clock.pass(100)
  assert.equal((await again)?.case, 'normalTaskResponse')
})

test('EmbeddedScheduler keeps the parents of a child that only asks for more', async (t) => {
  const site = new Site(t)
  for (const id of ['reader', 'a', 'b']) await site.own(id)
  const reader = await site.reader('reader', wish())
  const child = site.child('a').register(wish())
  assert.deepEqual(
    (await child.parents()).map(({ id }) => id),
    [reader.id],
  )
  const second = site.child('b').register(wish())
  await second.parents()
  second.started()
  await site.clock.settle()
  const more = await child.started().reschedule([]).parents()
  // The one that it has is no news.
  assert.deepEqual(
    more.map(({ id }) => id),
    [second.id],
  )
  second.done()
  const again = await child.started().reschedule([]).parents()
  assert.deepEqual(again.map(({ id }) => id).toSorted(), [reader.id, second.id].toSorted())
})

test('EmbeddedScheduler takes a missing length for unknown, and offers nobody who does not know it', async (t) => {
  const site = new Site(t)
  for (const id of ['reader', 'a', 'b']) await site.host(id)
  const unknown = { url: 'http://origin.test/file' }
  const reader = await site.reader('reader', unknown)
  const waiting = site.child('a').register(unknown).next()
  assert.equal(await site.now(waiting), 'nothing')
  reader.sourceDone()
  await reader.next()
  assert.equal(await site.now(waiting), 'nothing')
  const told = site.child('reader').register(wish(16, { metadataOnly: true }))
  await told.next()
  told.started().done()
  const answer = await waiting
  assert.ok(answer?.case === 'normalTaskResponse')
  const [parent] = answer.value.candidateParents
  assert.equal(parent?.task?.contentLength, BigInt(64 * mib))
  assert.equal(parent?.host?.id, 'reader')
  const { tasks } = site.explain()
  assert.equal(tasks[0]?.peers.length, 2)
})

test('EmbeddedScheduler lets the others go to the origin when the length never comes', async (t) => {
  const site = new Site(t, { unknownLengthMs: 60_000 })
  await site.host('reader')
  await site.host('a')
  await site.reader('reader', { url: 'http://origin.test/file' })
  const waiting = site.child('a').register(wish()).next()
  await site.now(waiting)
  await site.clock.pass(59_000)
  assert.equal(await site.now(waiting), 'nothing')
  await site.clock.pass(2_000)
  assert.equal((await waiting)?.case, source)
})

test('EmbeddedScheduler offers no holder of another version', async (t) => {
  const site = new Site(t)
  await site.host('old')
  await site.host('a')
  const old = site.child('old').register(wish(16, { metadataOnly: true }))
  await old.next()
  old.started().done()
  await old.next()
  const fresh = site.child('a').register(wish(17))
  assert.equal((await fresh.next())?.case, source)
  const told = async (): Promise<bigint> => {
    const { contentLength } = await site.client.statTask({ hostId: 'a', taskId: site.taskId })
    return contentLength
  }
  assert.equal(await told(), BigInt(68 * mib))
  // Nobody has it so, or is about to: whoever may not ask the origin can only want what the other has.
  fresh.sourceStarted().sourceFailed()
  await site.clock.settle()
  assert.equal(await told(), BigInt(64 * mib))
})

test('EmbeddedScheduler takes pieces from a peer that has a part, then sends the child on', async (t) => {
  const site = new Site(t)
  await site.host('part')
  await site.host('a')
  const range = { start: 0n, length: BigInt(8 * mib) }
  const part = await site.reader('part', wish(16, { range }))
  part.piece(0).piece(1).sourceDone()
  await part.next()
  const child = site.child('a').register(wish())
  const parents = await child.parents()
  child.started().piece(0, part.id).piece(1, part.id).reschedule(parents)
  assert.equal((await child.next())?.case, source)
})

test('EmbeddedScheduler gives a daemon five answers, and a peer of this package more', async (t) => {
  const site = new Site(t, { answersMax: 7 })
  const rounds = async (hostId: string): Promise<number> => {
    const child = site.child(hostId, `task of ${hostId}`).register(wish())
    for (let count = 0; ; count++) {
      try {
        await child.next()
      } catch (error) {
        assert.equal(ConnectError.from(error).code, Code.FailedPrecondition)
        return count
      }
      child.reschedule([])
    }
  }
  assert.equal(await rounds(await site.host('daemon')), 5)
  assert.equal(await rounds(await site.own('own')), 7)
})

test('EmbeddedScheduler offers nobody whose stream broke', async (t) => {
  const site = new Site(t)
  await site.host('a')
  await site.host('b')
  const reader = await site.reader('a', wish())
  reader.vanish()
  await site.clock.settle()
  assert.equal((await site.child('b').register(wish()).next())?.case, source)
})

test('EmbeddedScheduler keeps a holder whose stream ended in order', async (t) => {
  const site = new Site(t)
  await site.host('a', {}, 3_600_000)
  await site.host('b', {}, 3_600_000)
  const reader = await site.reader('a', wish())
  reader.sourceDone()
  await reader.next()
  await site.clock.pass(3_600_000)
  const parents = await site.child('b').register(wish()).parents()
  assert.equal(parents[0]?.id, reader.id)
})

test('EmbeddedScheduler ends every stream when it closes', async (t) => {
  const site = new Site(t)
  await site.own('a')
  const waiting = site.child('a').register(wish(16, never)).next()
  await site.now(waiting)
  site.scheduler.close()
  await assert.rejects(waiting, (error) => ConnectError.from(error).code === Code.Unavailable)
  assert.equal(await site.clock.until(() => false), false)
  assert.equal(site.clock.pending, 0)
})
