import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import test from 'node:test'

import { Code, ConnectError, createClient } from '@connectrpc/connect'

import { addressText } from '../../src/rpc/address.ts'
import { openChannel } from '../../src/rpc/channel.ts'
import { Scheduler } from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { serveRpc } from '../../src/rpc/server.ts'
import { EmbeddedScheduler } from '../../src/scheduler/embedded/scheduler.ts'
import { Child, daemonHost, wish } from './child.ts'
import { Site } from './site.ts'
import { swarmRounds } from './swarm-rounds.ts'

const source = 'needBackToSourceResponse'

test('EmbeddedScheduler drops a host that says nothing for two intervals, and what it has', async (t) => {
  const site = new Site(t)
  await site.host('a', {}, 10_000)
  await site.host('b', {}, 3_600_000)
  const holder = site.child('a').register(wish(16, { metadataOnly: true }))
  await holder.next()
  holder.started().done()
  await holder.next()
  await site.clock.pass(19_000)
  assert.equal((await site.child('b').register(wish()).next())?.case, 'normalTaskResponse')
  await site.clock.pass(3_000)
  assert.equal((await site.child('b').register(wish()).next())?.case, source)
  assert.deepEqual(
    site.explain().hosts.map(({ id }) => id),
    ['b'],
  )
})

test('EmbeddedScheduler keeps a host whose downloads are heard of', async (t) => {
  const site = new Site(t)
  await site.host('a', {}, 10_000)
  const reader = await site.reader('a', wish())
  for (let number = 0; number < 8; number++) {
    reader.piece(number)
    await site.clock.pass(8_000)
  }
  assert.equal(site.explain().hosts.length, 1)
  await site.clock.pass(30_000)
  assert.equal(site.explain().hosts.length, 0)
})

test('EmbeddedScheduler tells a waiting child when its host is gone', async (t) => {
  const site = new Site(t)
  await site.own('a')
  const waiting = site
    .child('a')
    .register(wish(16, { disableBackToSource: true }))
    .next()
  await site.now(waiting)
  await site.client.deleteHost({ hostId: 'a' })
  await assert.rejects(waiting, code(Code.NotFound))
})

test('EmbeddedScheduler knows no peer of a host that is gone', async (t) => {
  const site = new Site(t)
  await site.host('a')
  const reader = await site.reader('a', wish())
  await site.client.deleteHost({ hostId: 'a' })
  reader.piece(1)
  await assert.rejects(reader.next(), code(Code.NotFound))
})

test('EmbeddedScheduler takes a changed host for the same host', async (t) => {
  const site = new Site(t)
  await site.host('a', { port: 14_000 })
  await site.reader('a', wish())
  await site.host('a', { port: 15_000, downloadPort: 15_000 })
  await site.host('b')
  const [parent] = await site.child('b').register(wish()).parents()
  assert.equal(parent?.host?.port, 15_000)
})

test('EmbeddedScheduler refuses what goes beyond its bounds', async (t) => {
  const site = new Site(t, { hostsMax: 2, tasksMax: 2, taskPeersMax: 2 })
  await site.host('a')
  await site.host('b')
  await assert.rejects(site.host('c'), code(Code.ResourceExhausted))
  await site.host('a')
  const fill = (taskId: string): Child => site.child('a', taskId).register(wish())
  await fill('task-1').next()
  await fill('task-2').next()
  await assert.rejects(fill('task-3').next(), code(Code.ResourceExhausted))
  void fill('task-1').next()
  await site.clock.settle()
  await assert.rejects(fill('task-1').next(), code(Code.ResourceExhausted))
})

test('EmbeddedScheduler refuses a task id of another kind, and ids that are endless', async (t) => {
  const site = new Site(t)
  await site.host('a')
  await site.client.uploadPersistentCacheTaskStarted({
    hostId: 'a',
    taskId: site.taskId,
    peerId: 'p',
    persistentReplicaCount: 1n,
    pieceLength: 4n,
    contentLength: 4n,
    pieceCount: 1,
  })
  await assert.rejects(site.child('a').register(wish()).next(), code(Code.FailedPrecondition))
  const endless = site.child('a', 'x'.repeat(5000)).register(wish())
  await assert.rejects(endless.next(), code(Code.InvalidArgument))
})

test('EmbeddedScheduler hears only the peer that registered on the stream', async (t) => {
  const site = new Site(t)
  await site.host('a')
  const child = site.child('a').register(wish())
  await child.next()
  child.register(wish())
  await assert.rejects(child.next(), code(Code.FailedPrecondition))
  const [task] = site.explain().tasks
  assert.deepEqual(
    task?.peers.map(({ is }) => is),
    ['Failed'],
  )
})

test('EmbeddedScheduler lets a peer that comes back under its id start anew', async (t) => {
  const site = new Site(t)
  await site.host('a')
  await site.host('b')
  const before = await site.reader('a', wish())
  const again = new Child(site.channel, 'a', site.taskId, before.id).register(wish())
  t.after(() => again.vanish())
  assert.equal((await again.next())?.case, source)
  before.vanish()
  again.sourceStarted()
  await site.clock.settle()
  const [parent] = await site.child('b').register(wish()).parents()
  assert.equal(parent?.id, before.id)
})

test('EmbeddedScheduler answers no preheating, and what it does not have not at all', async (t) => {
  const site = new Site(t)
  const file = { url: 'http://origin.test/', scope: 'all_peers' }
  await assert.rejects(site.client.preheatFile(file), code(Code.FailedPrecondition))
  await assert.rejects(site.client.preheatImage(file), code(Code.FailedPrecondition))
  const names = { hostId: 'a', taskId: 'task' }
  await assert.rejects(site.client.statCacheTask(names), code(Code.Unimplemented))
  await assert.rejects(site.client.statPersistentTask(names), code(Code.Unimplemented))
})

test('EmbeddedScheduler offers 64 peers that start together enough parents, and nobody too many children', async (t) => {
  const site = new Site(t)
  const children: Child[] = []
  for (let at = 0; at < 64; at++) {
    await site.own(`h${at}`)
    children.push(site.child(`h${at}`).register(wish()))
  }
  const [reader, ...others] = children
  assert.equal((await reader?.next())?.case, source)
  reader?.sourceStarted()
  const answers = await Promise.all(others.map((child) => child.parents()))
  for (const parents of answers) assert.equal(parents.length, 4)
  const peers = site.explain().tasks[0]?.peers ?? []
  for (const { children: count } of peers) assert.ok(count <= 8, `${count} children`)
  const rounds = swarmRounds(peers, children[0]?.id ?? '', 64)
  // 64 pieces and 2⁶ peers cannot take fewer than 70. A chain, the best that there is without circles, would take 127.
  assert.ok(rounds <= 1.3 * 70, `${rounds} rounds`)
})

test('EmbeddedScheduler.explain() holds no secret', async (t) => {
  const site = new Site(t)
  await site.host('a')
  const secret = { url: 'http://user:secret@origin.test/?secret', requestHeader: { a: 'secret' } }
  await site.child('a').register(wish(16, secret)).next()
  const text = JSON.stringify(site.scheduler.explain())
  assert.ok(text.includes(site.taskId))
  assert.ok(!text.includes('secret'))
  const { url } = await site.client.statTask({ hostId: 'a', taskId: site.taskId })
  assert.equal(url, '')
})

test('EmbeddedScheduler over a port ends a waiting stream when the connection breaks', async (t) => {
  const scheduler = new EmbeddedScheduler()
  const server = await serveRpc({ routes: scheduler.routes, host: '127.0.0.1', port: 0 })
  t.after(async () => {
    scheduler.close()
    await server.close()
  })
  const site = new Site(t)
  const address = addressText(server.address)
  const channels = [openChannel({ address }), openChannel({ address })]
  t.after(() => {
    for (const channel of channels) channel.close()
  })
  const [one, two] = channels
  assert.ok(one !== undefined && two !== undefined)
  const client = createClient(Scheduler, two)
  for (const id of ['a', 'b']) await client.announceHost({ host: daemonHost(id) })
  const first = new Child(one, 'a', site.taskId).register(wish())
  assert.equal((await first.next())?.case, source)
  const told = new Child(two, 'b', site.taskId).register(wish()).next()
  one.close()
  assert.equal((await told)?.case, source)
})

test('EmbeddedScheduler keeps no process alive', () => {
  const module = new URL('../../src/scheduler/embedded/scheduler.js', import.meta.url).href
  const channel = new URL('../../src/rpc/channel.js', import.meta.url).href
  const generated = new URL('../../src/rpc/gen/scheduler/v2/scheduler_pb.js', import.meta.url).href
  const connect = import.meta.resolve('@connectrpc/connect')
  const program = `
    const { EmbeddedScheduler } = await import(${JSON.stringify(module)})
    const { localChannel } = await import(${JSON.stringify(channel)})
    const { Scheduler } = await import(${JSON.stringify(generated)})
    const { createClient } = await import(${JSON.stringify(connect)})
    const scheduler = new EmbeddedScheduler()
    const client = createClient(Scheduler, localChannel(scheduler.routes))
    const host = { id: 'a', hostname: 'a', ip: '127.0.0.1', port: 4000 }
    await client.announceHost({ host, interval: { seconds: 30n } })
    const { hosts } = await client.listHosts({})
    process.stdout.write(String(hosts.length))
  `
  const ended = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
    timeout: 20_000,
  })
  assert.equal(ended.stderr, '')
  assert.equal(ended.stdout, '1')
  assert.equal(ended.status, 0)
})

function code(wanted: Code): (error: unknown) => boolean {
  return (error) => {
    assert.equal(Code[ConnectError.from(error).code], Code[wanted])
    return true
  }
}
