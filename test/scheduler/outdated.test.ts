import assert from 'node:assert/strict'
import test from 'node:test'

import { Code, ConnectError } from '@connectrpc/connect'

import { Child, wish } from './child.ts'
import { Site } from './site.ts'

const mib = 1024 * 1024
const cannot = { disableBackToSource: true }
const part = { range: { start: 0n, length: BigInt(4 * mib) } }

/** This host has fetched all of it from the origin. */
async function whole(site: Site, hostId: string, more = {}): Promise<Child> {
  const child = site.child(hostId).register(wish(16, { needBackToSource: true, ...more }))
  await child.next()
  child.sourceStarted().sourceDone()
  await child.next()
  return child
}

/** This host says that it has all of it. */
async function held(site: Site, hostId: string): Promise<Child> {
  const child = site.child(hostId).register(wish(16, { metadataOnly: true }))
  assert.equal((await child.next())?.case, 'metadataOnlyResponse')
  return child
}

/** What the peers of this host are, in the order in which they came. */
function states(site: Site, hostId: string): readonly string[] {
  const peers = site.explain().tasks.flatMap((task) => task.peers)
  return peers.filter(({ id }) => id.startsWith(`${hostId}-`)).map(({ is }) => is)
}

test('EmbeddedScheduler confirms no circle over a host that has lost what it had', async (t) => {
  const site = new Site(t)
  for (const id of ['a', 'b', 'c']) await site.own(id)
  const before = await whole(site, 'a')
  const child = site.child('b').register(wish(16, cannot))
  const [parent] = await child.parents()
  assert.equal(parent?.id, before.id)
  child.started()
  await site.clock.settle()
  // What the child gets can only come from here.
  const again = site.child('a').register(wish(16, cannot))
  assert.equal(await site.now(again.next()), 'nothing')
  assert.deepEqual(states(site, 'a'), ['ReceivedNormal'])
  // Nobody has it: whoever may go to the origin does.
  const third = await site.child('c').register(wish()).next()
  assert.equal(third?.case, 'needBackToSourceResponse')
})

test('EmbeddedScheduler takes a host that fetches a part for one that lacks some of the whole', async (t) => {
  const site = new Site(t)
  for (const id of ['a', 'b']) await site.own(id)
  await whole(site, 'a')
  await whole(site, 'b')
  await site.child('a').register(wish(16, part)).parents()
  assert.deepEqual(states(site, 'a'), ['ReceivedNormal'])
  assert.deepEqual(states(site, 'b'), ['Succeeded'])
})

test('EmbeddedScheduler believes a host in its parts, its other downloads and its other tasks when it fetches the whole', async (t) => {
  const site = new Site(t)
  await site.host('a')
  await whole(site, 'a', part)
  const running = await site.reader('a', wish(16, { needBackToSource: true }))
  const other = site.child('a', 'f'.repeat(64)).register(wish(16, { metadataOnly: true }))
  await other.next()
  other.started().done()
  await other.next()
  await site.reader('a', wish(16, { needBackToSource: true }))
  assert.deepEqual(states(site, 'a').toSorted(), [
    'BackToSource',
    'BackToSource',
    'Succeeded',
    'Succeeded',
  ])
  running.sourceDone()
  await running.next()
  assert.equal(states(site, 'a').length, 3)
})

test('EmbeddedScheduler believes no claim that ends after its host has begun to fetch the content', async (t) => {
  const site = new Site(t)
  for (const id of ['a', 'b']) await site.own(id)
  const claim = await held(site, 'a')
  const download = await site.reader('a', wish())
  claim.started().done()
  await assert.rejects(claim.next(), isNotFound)
  assert.deepEqual(states(site, 'a'), ['BackToSource'])
  const [parent] = await site.child('b').register(wish()).parents()
  assert.equal(parent?.id, download.id)
})

test('EmbeddedScheduler believes a host that says while it fetches that it has it all', async (t) => {
  const site = new Site(t)
  await site.own('a')
  const download = await site.reader('a', wish())
  const claim = await held(site, 'a')
  claim.started().done()
  await claim.next()
  assert.deepEqual(states(site, 'a'), ['BackToSource', 'Succeeded'])
  // Two claims are one.
  const second = await held(site, 'a')
  second.started().done()
  await second.next()
  download.sourceFailed()
  await download.next()
  assert.deepEqual(states(site, 'a'), ['Failed', 'Succeeded'])
})

test('EmbeddedScheduler keeps nobody waiting whose stream is gone after it came back under its id', async (t) => {
  const site = new Site(t)
  await site.own('a')
  const before = site.child('a').register(wish(16, cannot))
  assert.equal(await site.now(before.next()), 'nothing')
  const again = new Child(site.channel, 'a', site.taskId, before.id).register(wish(16, cannot))
  t.after(() => again.vanish())
  assert.equal(await site.now(again.next()), 'nothing')
  before.vanish()
  for (let turn = 0; turn < 5; turn++) await site.clock.settle()
  const [task] = site.explain().tasks
  assert.deepEqual(task?.waiting.length, 1)
})

function isNotFound(error: unknown): boolean {
  return ConnectError.from(error).code === Code.NotFound
}
