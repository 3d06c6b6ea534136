import assert from 'node:assert/strict'
import test from 'node:test'

import { Code, ConnectError } from '@connectrpc/connect'

import { ownPlatform } from '../../src/rpc/convert-host.ts'
import type { Download, Priority } from '../../src/rpc/gen/common/v2/common_pb.ts'
import { deferred } from '../../src/util/deferred.ts'
import { type Child, wish } from './child.ts'
import { Site } from './site.ts'

const source = 'needBackToSourceResponse'

test('EmbeddedScheduler asks a seed to go to the origin for the first child, and offers it', async (t) => {
  const site = new Site(t)
  const downloads = await site.seed('seed')
  await site.host('a')
  await site.host('b')
  const [told, other] = await Promise.all([
    site.child('a').register(wish()).parents(),
    site.child('b').register(wish()).parents(),
  ])
  assert.equal(told[0]?.host?.id, 'seed')
  assert.equal(told[0]?.host?.type, 1)
  assert.ok(other.some(({ host }) => host?.id === 'seed'))
  assert.equal(downloads.length, 1)
  assert.equal(site.clock.now(), 0)
})

test('EmbeddedScheduler hands the wish to the seed as it came, but for what concerns the asker alone', async (t) => {
  const site = new Site(t)
  const got = deferred<Download | undefined>()
  await site.host('seed', { type: 1 })
  site.onCall('seed', { download: async (download) => got.resolve(download) })
  await site.host('a')
  const asked = wish(16, {
    tag: 'a tag',
    requestHeader: { authorization: 'secret' },
    outputPath: '/etc/passwd',
    overwrite: true,
    forceHardLink: true,
    needPieceContent: true,
    prefetch: true,
  })
  site.child('a').register(asked)
  const download = await got.promise
  assert.equal(download?.needBackToSource, true)
  assert.equal(download?.outputPath, undefined)
  assert.equal(download?.needPieceContent, false)
  assert.equal(download?.overwrite, false)
  assert.equal(download?.forceHardLink, false)
  assert.equal(download?.tag, 'a tag')
  assert.equal(download?.prefetch, true)
  assert.equal(download?.actualContentLength, asked.actualContentLength)
  assert.deepEqual({ ...download?.requestHeader }, { authorization: 'secret' })
  assert.ok(!JSON.stringify(site.scheduler.explain()).includes('secret'))
})

test('EmbeddedScheduler asks another seed at once when one fails, then lets the child go itself', async (t) => {
  const site = new Site(t)
  const asked: string[] = []
  for (const id of ['s1', 's2']) {
    await site.host(id, { type: 1 })
    site.onCall(id, {
      download: async () => {
        asked.push(id)
        throw new ConnectError('No disk', Code.Internal)
      },
    })
  }
  await site.host('a')
  assert.equal((await site.child('a').register(wish()).next())?.case, source)
  assert.deepEqual(asked.toSorted(), ['s1', 's2'])
  assert.equal(site.clock.now(), 0)
})

test('EmbeddedScheduler lets the child go itself when the seed ends without a word', async (t) => {
  const site = new Site(t)
  await site.host('seed', { type: 1 })
  site.onCall('seed', { download: async () => undefined })
  await site.host('a')
  assert.equal((await site.child('a').register(wish()).next())?.case, source)
})

test('EmbeddedScheduler waits only so long for a seed to register', async (t) => {
  const site = new Site(t, { seedStartMs: 8_000 })
  await site.host('seed', { type: 1 })
  site.onCall('seed', { download: (_, signal) => aborted(signal) })
  await site.host('a')
  const told = site.child('a').register(wish()).next()
  assert.equal(await site.now(told), 'nothing')
  await site.clock.pass(7_900)
  assert.equal(await site.now(told), 'nothing')
  await site.clock.pass(200)
  assert.equal((await told)?.case, source)
})

test('EmbeddedScheduler lets the child go itself when the seed dies on its way', async (t) => {
  const site = new Site(t)
  await site.own('seed', { type: 1 })
  const began = deferred<void>()
  site.onCall('seed', {
    download: async (download) => {
      if (download === undefined) return
      const child = site.child('seed').register(download)
      await child.next()
      began.resolve()
      child.vanish()
    },
  })
  await site.host('a')
  const told = site.child('a').register(wish()).next()
  await began.promise
  assert.equal((await told)?.case, source)
})

test('EmbeddedScheduler forgets a seed that leaves before it registered', async (t) => {
  const site = new Site(t)
  await site.host('seed', { type: 1 })
  site.onCall('seed', { download: (_, signal) => aborted(signal) })
  await site.host('a')
  const told = site.child('a').register(wish()).next()
  assert.equal(await site.now(told), 'nothing')
  await site.client.deleteHost({ hostId: 'seed' })
  assert.equal((await told)?.case, source)
})

test('EmbeddedScheduler asks no seed that has failed for this task a short while ago', async (t) => {
  const site = new Site(t, { seedBanMs: 60_000 })
  let asked = 0
  await site.host('seed', { type: 1 }, 3_600_000)
  site.onCall('seed', {
    download: async () => {
      asked++
      throw new ConnectError('Busy', Code.ResourceExhausted)
    },
  })
  await site.host('a', {}, 3_600_000)
  const goes = async (): Promise<void> => {
    const child = site.child('a').register(wish())
    assert.equal((await child.next())?.case, source)
    child.sourceStarted().sourceFailed()
    await child.next()
  }
  await goes()
  await goes()
  assert.equal(asked, 1)
  await site.clock.pass(60_001)
  await goes()
  assert.equal(asked, 2)
})

test('EmbeddedScheduler lets a seed that wants a task itself go to the origin', async (t) => {
  const site = new Site(t)
  const downloads = await site.seed('other')
  await site.host('seed', { type: 1 })
  assert.equal((await site.child('seed').register(wish()).next())?.case, source)
  assert.equal(downloads.length, 0)
})

test('EmbeddedScheduler goes by the priority when nobody has the task', async (t) => {
  const site = new Site(t)
  const downloads = await site.seed('seed')
  await site.host('a')
  const tell = (priority: Priority) =>
    site.child('a', `task-${priority}`).register(wish(16, { priority })).next()
  await assert.rejects(tell(1), code(Code.FailedPrecondition))
  await assert.rejects(tell(2), code(Code.NotFound))
  assert.equal((await tell(3))?.case, source)
  assert.equal(downloads.length, 0)
})

test('EmbeddedScheduler goes by the priority only while there is a seed', async (t) => {
  const site = new Site(t)
  await site.host('a')
  for (const priority of [0, 1, 2, 3, 6] as const) {
    const child = site.child('a', `task-${priority}`).register(wish(16, { priority }))
    assert.equal((await child.next())?.case, source, String(priority))
  }
})

test('EmbeddedScheduler asks each seed as much as the others', async (t) => {
  const site = new Site(t)
  const asked: string[] = []
  for (const id of ['s1', 's2', 's3']) {
    await site.host(id, { type: 1 })
    site.onCall(id, {
      download: (_, signal) => {
        asked.push(id)
        return aborted(signal)
      },
    })
  }
  await site.host('a')
  for (let at = 0; at < 6; at++) {
    const told = site.child('a', `task-${at}`).register(wish()).next()
    await site.now(told)
  }
  for (const id of ['s1', 's2', 's3']) assert.equal(asked.filter((one) => one === id).length, 2)
})

test('EmbeddedScheduler makes only so many calls at a time', async (t) => {
  const site = new Site(t, { callsMax: 1 })
  await site.host('seed', { type: 1 })
  site.onCall('seed', { download: (_, signal) => aborted(signal) })
  await site.host('a')
  const first = site.child('a', 'task-1').register(wish()).next()
  assert.equal(await site.now(first), 'nothing')
  assert.equal((await site.child('a', 'task-2').register(wish()).next())?.case, source)
})

test('EmbeddedScheduler waits for a seed only as long as it fetches what is wanted', async (t) => {
  const site = new Site(t, { taskTriggersMax: 1 })
  await site.host('seed', { type: 1 })
  site.onCall('seed', { download: (_, signal) => aborted(signal) })
  await site.host('a')
  await site.host('b')
  const range = { start: 0n, length: 100n }
  const part = site.child('a').register(wish(16, { range })).next()
  assert.equal(await site.now(part), 'nothing')
  assert.equal((await site.child('b').register(wish()).next())?.case, source)
})

/** Rejects when the call is ended: a seed that never answers. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(new ConnectError('Ended', Code.Canceled)))
  })
}

function code(wanted: Code): (error: unknown) => boolean {
  return (error) => ConnectError.from(error).code === wanted
}

test('EmbeddedScheduler does not take a download of a seed that must not go to the origin for the ordered one', async (t) => {
  const site = new Site(t, { seedStartMs: 8000 })
  const orders: unknown[] = []
  await site.own('seed', { type: 1 })
  site.onCall('seed', {
    download: async (download, signal) => {
      orders.push(download)
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
    },
  })
  await site.own('a')
  const asker = site.child('a').register(wish()).next()
  await site.clock.pass(50)
  site.child('seed').register(wish(16, { disableBackToSource: true }))
  await site.clock.pass(8000)
  const told = await site.now(asker)
  assert.ok(told !== 'nothing' && told?.case === source)
  assert.equal(orders.length, 1)
})

/** A child for which a seed has fetched the task, and that has found the seed wanting. It has not asked for anybody else yet. */
async function wronged(site: Site): Promise<{ readonly child: Child; readonly named: Named }> {
  const child = site.child('a').register(wish())
  const named = await child.parents()
  child.started()
  for (const { id } of named) child.pieceFailed(0, id)
  await site.clock.settle()
  return { child, named }
}

type Named = Awaited<ReturnType<Child['parents']>>

/** Who is named. */
async function hosts(child: Child): Promise<readonly (string | undefined)[]> {
  return (await child.parents()).map(({ host }) => host?.id)
}

test('EmbeddedScheduler does not ask a seed again for the child that has just found it wanting', async (t) => {
  const site = new Site(t)
  const downloads = await site.seed('seed')
  await site.own('a')
  const { child, named } = await wronged(site)
  const told = await site.now(child.reschedule(named).next())
  assert.ok(told !== 'nothing' && told?.case === source)
  assert.equal(downloads.length, 1)
})

test('EmbeddedScheduler asks a seed again that only lacks what the child wants', async (t) => {
  const site = new Site(t)
  const downloads = await site.seed('seed')
  await site.own('a')
  const child = site.child('a').register(wish())
  const named = await child.parents()
  child.started().reschedule(named)
  assert.deepEqual(await hosts(child), ['seed'])
  assert.equal(downloads.length, 2)
})

test('EmbeddedScheduler asks another seed for a child that has found one wanting', async (t) => {
  const site = new Site(t)
  await site.seed('s1')
  await site.own('a')
  const { child, named } = await wronged(site)
  const others = await site.seed('s2')
  assert.deepEqual(await hosts(child.reschedule(named)), ['s2'])
  assert.equal(others.length, 1)
})

test('EmbeddedScheduler asks a seed for another child although one has found it wanting', async (t) => {
  const site = new Site(t)
  const downloads = await site.seed('seed')
  await site.own('a')
  await site.own('b')
  const { child, named } = await wronged(site)
  await site.client.deleteTask({ hostId: 'seed', taskId: site.taskId })
  const other = site.child('b').register(wish())
  assert.deepEqual(await hosts(other), ['seed'])
  assert.equal(downloads.length, 2)
  // It has announced itself anew: as such it is offered to everybody.
  assert.ok((await hosts(child.reschedule(named))).includes('seed'))
})

test('EmbeddedScheduler does not wait for a seed that the child has found wanting, when it was asked for another one', async (t) => {
  const site = new Site(t)
  await site.seed('seed')
  await site.own('a')
  await site.own('b')
  const { child, named } = await wronged(site)
  await site.client.deleteTask({ hostId: 'seed', taskId: site.taskId })
  site.onCall('seed', { download: (_, signal) => aborted(signal) })
  const other = site.child('b').register(wish()).next()
  assert.equal(await site.now(other), 'nothing')
  const told = await site.now(child.reschedule(named).next())
  assert.ok(told !== 'nothing' && told?.case === source)
})

test('EmbeddedScheduler asks a seed again for a child that found it wanting a while ago', async (t) => {
  const site = new Site(t, { banMs: 15_000 })
  const downloads = await site.seed('seed')
  await site.host('a', { build: { platform: ownPlatform } }, 3_600_000)
  const { child, named } = await wronged(site)
  await site.client.deleteTask({ hostId: 'seed', taskId: site.taskId })
  await site.clock.pass(15_001)
  assert.deepEqual(await hosts(child.reschedule(named)), ['seed'])
  assert.equal(downloads.length, 2)
})

for (const answers of [false, true]) {
  test(`EmbeddedScheduler ${answers ? 'waits for' : 'gives up'} a seed that does not register and answers ${answers ? 'pings' : 'no ping'}`, async (t) => {
    const site = new Site(t, { seedStartMs: 8000 })
    await site.host('seed', { type: 1 })
    site.onCall('seed', {
      download: (_, signal) => aborted(signal),
      ping: () => (answers ? Promise.resolve() : new Promise(() => undefined)),
    })
    await site.host('a')
    const told = site.child('a').register(wish()).next()
    assert.equal(await site.now(told), 'nothing')
    await site.clock.pass(3900)
    const first = await site.now(told)
    if (answers) assert.equal(first, 'nothing')
    else assert.ok(first !== 'nothing' && first?.case === source)
    await site.clock.pass(4200)
    assert.equal((await told)?.case, source)
  })
}
