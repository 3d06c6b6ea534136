import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { HookMessages, HookName } from '../../src/hooks.ts'
import type { PeerOptions } from '../../src/peer/options.ts'
import type { Peer } from '../../src/peer/peer.ts'
import { loadAddon } from '../../src/transport/rdma/addon.ts'
import { rdma } from '../../src/transport/rdma/rdma.ts'
import { tcp } from '../../src/transport/tcp/tcp.ts'
import { Content } from '../support/content.ts'
import { origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyBytes, verifyFile } from '../support/verify.ts'
import { order, softLibrary } from '../transport/rdma/soft-device.ts'
import { startPeer, waitFor } from './start-peer.ts'

const mib = 1024 * 1024
const library = softLibrary()

/** Both transports; what does not say otherwise is kept in memory. */
function fast(options: PeerOptions = {}): PeerOptions {
  return { store: 'memory', transports: [rdma({ library }), tcp()], ...options }
}

function heard<N extends HookName>(t: TestContext, name: N): HookMessages[N][] {
  const messages: HookMessages[N][] = []
  const note = (message: unknown): void => {
    messages.push(message as HookMessages[N])
  }
  subscribe(name, note)
  t.after(() => unsubscribe(name, note))
  return messages
}

/** How often memory was registered in this process so far. */
function registrations(): number {
  const addon = loadAddon()
  assert.ok('native' in addon)
  return addon.native.stats().registrations
}

async function written(
  t: TestContext,
  content: Content,
  options = fast(),
): Promise<{ readonly peer: Peer; readonly id: string }> {
  const peer = await startPeer(t, options)
  const { id } = await peer.write(content.bytes(), { replicas: 1 })
  return { peer, id }
}

test('bytes() takes every piece over RDMA, from memory and from disk, and registers nothing for a piece', async (t) => {
  for (const store of ['memory', { dir: tempFolder(t) }] as const) {
    const content = new Content(60 * mib + 7, store === 'memory' ? 11 : 22)
    const kept = heard(t, 'dragonfly-peer:piece:kept')
    const served = heard(t, 'dragonfly-peer:piece:served')
    const fallbacks = heard(t, 'dragonfly-peer:transport:fallback')
    const { peer, id } = await written(t, content, fast({ store }))
    const child = await startPeer(t, fast({ scheduler: peer.schedulerAddress }))
    const before = registrations()
    verifyBytes(await child.download({ task: id }).bytes(), content)
    assert.deepEqual(new Set(kept.map(({ transport }) => transport)), new Set(['rdma']))
    assert.equal(kept.length, 16)
    await waitFor(() => served.length === 16)
    assert.deepEqual(new Set(served.map(({ transport }) => transport)), new Set(['rdma']))
    assert.deepEqual(fallbacks, [])
    // In memory: both contents once. From disk: so many copies as are served at a time.
    const count = registrations() - before
    assert.ok(count <= (store === 'memory' ? 2 : 1 + 16), `${count} registrations`)
    if (store !== 'memory') continue
    const third = await startPeer(t, fast({ scheduler: peer.schedulerAddress }))
    verifyBytes(await third.download({ task: id }).bytes(), content)
    assert.ok(registrations() - before <= 4, 'the third one, and the child that serves now')
    await waitFor(() => served.length === 32)
  }
})

test('Peer.allocate() gives memory that is registered already, and the pieces are read straight into it', async (t) => {
  const content = new Content(24 * mib, 12)
  const { peer, id } = await written(t, content)
  const child = await startPeer(t, fast({ scheduler: peer.schedulerAddress }))
  const before = registrations()
  const memory = await child.allocate(32 * mib)
  assert.equal(registrations(), before + 1)
  const kept = heard(t, 'dragonfly-peer:piece:kept')
  const bytes = await child.download({ task: id }, { into: memory }).bytes()
  assert.equal(bytes.buffer, memory.buffer)
  verifyBytes(bytes, content)
  assert.ok(kept.every(({ transport }) => transport === 'rdma'))
  assert.equal(registrations(), before + 2, 'and the content at the parent')
  await assert.rejects(child.allocate(0), RangeError)
  await child.close()
  await assert.rejects(child.allocate(1), /closed/)
})

test('A swarm over RDMA: the first goes to the origin, the others read of each other, to disk and to memory', async (t) => {
  const from = await origin(t, { length: 41 * mib })
  const kept = heard(t, 'dragonfly-peer:piece:kept')
  const first = await startPeer(t, fast())
  const scheduler = first.schedulerAddress
  const dir = tempFolder(t)
  const others = await Promise.all([
    startPeer(t, fast({ scheduler })),
    startPeer(t, fast({ scheduler, store: { dir } })),
    startPeer(t, fast({ scheduler })),
  ])
  const path = join(tempFolder(t), 'out')
  const [one, , three] = await Promise.all([
    others[0]?.download(from.url).bytes(),
    others[1]?.download(from.url).toFile(path),
    others[2]?.download(from.url).bytes({ shared: true }),
  ])
  assert.ok(one !== undefined && three !== undefined)
  verifyBytes(one, from.content)
  verifyBytes(three, from.content)
  await verifyFile(path, from.content)
  const peers = kept.filter(({ traffic }) => traffic === 'peer')
  assert.ok(peers.length > 0)
  assert.deepEqual(new Set(peers.map(({ transport }) => transport)), new Set(['rdma']))
  assert.ok(from.counts.bytes <= 1.05 * 41 * mib)
})

test('With a parent that has no RDMA everything comes over TCP, and the reason is told once', async (t) => {
  const content = new Content(30 * mib, 13)
  const { peer, id } = await written(t, content, { store: 'memory' })
  const child = await startPeer(t, fast({ scheduler: peer.schedulerAddress }))
  const kept = heard(t, 'dragonfly-peer:piece:kept')
  const fallbacks = heard(t, 'dragonfly-peer:transport:fallback')
  verifyBytes(await child.download({ task: id }).bytes(), content)
  assert.ok(kept.every(({ transport }) => transport === 'tcp'))
  assert.ok(fallbacks.length >= 1 && fallbacks.length <= 8, 'those that were asked together')
  for (const { from, to, reason } of fallbacks) {
    assert.deepEqual([from, to], ['rdma', 'tcp'])
    assert.match(reason, /It has no RDMA/)
  }
  const told = fallbacks.length
  const other = await peer.write(new Content(9 * mib, 14).bytes(), { replicas: 1 })
  await child.download({ task: other.id }).bytes()
  assert.equal(fallbacks.length, told)
})

test('A child without RDMA reads over TCP from a parent that has it', async (t) => {
  const content = new Content(9 * mib, 15)
  const { peer, id } = await written(t, content)
  const child = await startPeer(t, { scheduler: peer.schedulerAddress })
  verifyBytes(await child.download({ task: id }).bytes(), content)
})

test('A read that stands still goes on over TCP for the same piece, and RDMA is tried again later', async (t) => {
  const content = new Content(16 * mib, 16)
  const { peer, id } = await written(t, content)
  const transports = [rdma({ library, stallTimeoutMs: 300 }), tcp()]
  const child = await startPeer(t, fast({ scheduler: peer.schedulerAddress, transports }))
  const kept = heard(t, 'dragonfly-peer:piece:kept')
  const failed = heard(t, 'dragonfly-peer:piece:failed')
  const fallbacks = heard(t, 'dragonfly-peer:transport:fallback')
  await order('hold 3')
  t.after(() => order('go'))
  verifyBytes(await child.download({ task: id }).bytes(), content)
  await order('go')
  assert.ok(fallbacks.some(({ reason }) => /No read ended within 300 ms/.test(reason)))
  assert.deepEqual(failed, [])
  assert.ok(kept.some(({ transport }) => transport === 'tcp'))
  // It is left alone for a second, from the failure on.
  await waitFor(() => /"leftMs":0\b/.test(JSON.stringify(child.explain())))
  const other = await peer.write(new Content(9 * mib, 17).bytes(), { replicas: 1 })
  kept.length = 0
  await child.download({ task: other.id }).bytes()
  assert.deepEqual(new Set(kept.map(({ transport }) => transport)), new Set(['rdma']))
})

test('A port that goes down is not used until it is back', async (t) => {
  const content = new Content(9 * mib, 18)
  const { peer, id } = await written(t, content)
  const child = await startPeer(t, fast({ scheduler: peer.schedulerAddress }))
  const changed = heard(t, 'dragonfly-peer:transport:changed')
  const kept = heard(t, 'dragonfly-peer:piece:kept')
  t.after(() => order('port up'))
  await order('port down')
  await waitFor(() => changed.filter(({ usable }) => !usable).length === 2)
  assert.match(JSON.stringify(child.explain()), /Port 1 of soft0 is down/)
  verifyBytes(await child.download({ task: id }).bytes(), content)
  assert.ok(kept.every(({ transport }) => transport === 'tcp'))
  await order('port up')
  await waitFor(() => changed.filter(({ usable }) => usable).length === 2)
  const other = await peer.write(new Content(9 * mib, 19).bytes(), { replicas: 1 })
  kept.length = 0
  await child.download({ task: other.id }).bytes()
  assert.ok(kept.every(({ transport }) => transport === 'rdma'))
})

test('A device on which too little memory can be locked is no failure, and the reason is told', async (t) => {
  const content = new Content(9 * mib, 20)
  const fallbacks = heard(t, 'dragonfly-peer:transport:fallback')
  const { peer, id } = await written(t, content)
  const child = await startPeer(t, fast({ scheduler: peer.schedulerAddress }))
  t.after(() => order('memlock 1099511627776'))
  await order('memlock 65536')
  verifyBytes(await child.download({ task: id }).bytes(), content)
  assert.ok(
    fallbacks.some(({ reason }) => /ulimit -l/.test(reason)),
    JSON.stringify(fallbacks),
  )
})

test('Peers that are closed leave nothing of RDMA behind', async (t) => {
  const content = new Content(9 * mib, 21)
  const { peer, id } = await written(t, content)
  const child = await startPeer(t, fast({ scheduler: peer.schedulerAddress }))
  await child.download({ task: id }).bytes()
  const begunAt = performance.now()
  await child.close()
  await peer.close()
  assert.ok(performance.now() - begunAt < 4000)
  const addon = loadAddon()
  assert.ok('native' in addon)
  const { contexts, domains, registrations: left, queuePairs } = addon.native.stats().live
  assert.deepEqual(
    { contexts, domains, left, queuePairs },
    { contexts: 0, domains: 0, left: 0, queuePairs: 0 },
  )
})
