/** Whole peers with RDMA before TCP, each in a process of its own. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { type PeerOptions, rdma } from '../../../src/index.ts'
import { type Origin, origin } from '../../support/origin.ts'
import { contentBytes } from '../../e2e/support/swarm.ts'
import { ends, timerSlowness } from './support/machine.ts'
import type { Facts } from './support/peer-end.ts'
import { type RdmaPeer, rdmaPeer } from './support/rdma-peer.ts'

const MiB = 1024 * 1024
/** 13 pieces of 4 MiB, the last one not whole. */
const length = 50 * MiB + 3
const never = { backToSource: 'never' } as const

test('rdma.probe() finds the devices of the guest', async () => {
  const { supported, reason, devices } = await rdma.probe()
  assert.equal(supported, true, reason)
  assert.deepEqual(
    devices.map(({ name }) => name),
    [ends.parent.device, ends.child.device],
  )
  const [gid] = devices[0]?.ports[0]?.gids.filter(({ index }) => index === 1) ?? []
  assert.deepEqual(gid, { index: 1, address: ends.parent.ip, type: 'roce-v2' })
})

test('A seed and two peers: every piece between them comes over RDMA, the origin is read once', async (t) => {
  const seed = await rdmaPeer(t, 'parent', { seedPeer: true })
  const scheduler = seed.schedulerAddress
  const others = await Promise.all([
    rdmaPeer(t, 'child', { scheduler }),
    rdmaPeer(t, 'parent', { scheduler }),
  ])
  // The first calls of a process may take longer here than a parent is given for an answer. So each has one download before, and then there are three attempts.
  const warm = await origin(t, { length: 5 * MiB, seed: 40 })
  for (const { far } of others) {
    await far.ask('download', { url: warm.url, options: { concurrency: 1 } })
  }
  // Which of the two have read all of a content over RDMA.
  const whole = new Set<number>()
  for (let attempt = 1; attempt <= 6 && whole.size < others.length; attempt++) {
    const served = await origin(t, { length, seed: 40 + attempt })
    const before = await Promise.all(others.map(facts))
    const copies = await Promise.all(
      others.map(async ({ far }) =>
        far.ask('download', { url: served.url, options: { concurrency: 4 } }),
      ),
    )
    for (const { sha256, info } of copies) {
      assert.equal(sha256, served.content.sha256())
      assert.deepEqual(info.traffic, { source: 0, peers: length, local: 0 })
    }
    assert.equal(contentBytes(served), length)
    const after = await Promise.all(others.map(facts))
    const read = after.map(({ bytesRead }, at) => bytesRead - (before[at]?.bytesRead ?? 0))
    for (const [at, other] of others.entries()) {
      // A slow piece may be asked of both, and then more is read than is kept.
      const over = await lastKept(other)
      if ((read[at] ?? 0) >= length && over.every((each) => each === 'rdma')) whole.add(at)
    }
    const reasons = new Set(after.flatMap(({ fallbacks }) => fallbacks).map(shownReason))
    const took = copies.map(({ tookMs }) => `${Math.round(tookMs)} ms`).join(' and ')
    t.diagnostic(
      `attempt ${attempt}: ${read.join(' and ')} bytes in ${took}. ${[...reasons].join('; ')}`,
    )
  }
  assert.equal(whole.size, others.length)
  const { served: sent } = await facts(seed)
  assert.ok((sent['rdma'] ?? 0) > 0, JSON.stringify(sent))
  for (const { far } of [...others, seed]) await far.ask('close', undefined)
})

test('The second download into the same kind of memory registers only that memory', async (t) => {
  const [, child, urls] = await holderAndChild(t, 2)
  const counts: number[] = []
  for (const { url, content } of urls) {
    const { sha256 } = await child.far.ask('download', { url, options: never, allocated: length })
    assert.equal(sha256, content.sha256())
    counts.push((await facts(child)).registrations)
  }
  const [first = 0, second = 0] = counts
  assert.equal(second - first, 1)
  const { bytesRead, fallbacks } = await facts(child)
  assert.deepEqual([bytesRead, fallbacks], [2 * length, []])
})

test('Content in memory goes on to flow while the main thread of its peer does something else', async (t) => {
  // Slow enough to be in the middle of the download when the thread is held up.
  const limits = { downloadBytesPerSecond: 8 * MiB }
  const [holder, child, [first, second]] = await holderAndChild(t, 2, { limits })
  assert.ok(first !== undefined && second !== undefined)
  // By the second content both are connected, and their code is compiled.
  await child.far.ask('download', { url: first.url, options: never, allocated: length })
  const ask = { url: second.url, options: never, allocated: length }
  const download = child.far.ask('download', ask)
  await child.far.ask('until', length + 10 * MiB)
  await holder.far.ask('block', 6000)
  const { sha256 } = await download
  assert.equal(sha256, second.content.sha256())
  const { kept, fallbacks } = await facts(child)
  const [blocked] = (await facts(holder)).blocked
  assert.ok(blocked !== undefined)
  const during = kept.filter(({ at }) => at > blocked.from && at < blocked.to)
  const ways = kept.map(({ transport }) => transport).join(' ')
  const reasons = fallbacks.map(shownReason).join('; ')
  t.diagnostic(`${during.length} pieces came meanwhile; ${ways} ${reasons}`)
  // Over TCP it would be none, but for one that is in the buffers of the sockets.
  assert.ok(during.length >= 3)
  assert.ok(during.every(({ transport }) => transport === 'rdma'))
})

for (const how of ['is killed', 'hangs'] as const) {
  test(`A parent that ${how} costs two seconds, and the rest comes from the other one`, async (t) => {
    const served = await origin(t, { length, seed: 44 })
    const seed = await rdmaPeer(t, 'parent', { seedPeer: true })
    const scheduler = seed.schedulerAddress
    const victim = await rdmaPeer(t, 'parent', { scheduler })
    await victim.far.ask('download', { url: served.url })
    const limits = { downloadBytesPerSecond: 8 * MiB }
    const child = await rdmaPeer(t, 'child', { scheduler, limits })
    const download = child.far.ask('download', { url: served.url, options: never })
    await child.far.ask('until', 16 * MiB)
    const from = Date.now()
    if (how === 'hangs') victim.far.hang()
    else await victim.far.kill()
    const { sha256 } = await download
    assert.equal(sha256, served.content.sha256())
    assert.equal(contentBytes(served), length)
    const { kept, failed } = await facts(child)
    const times = [from, ...kept.map(({ at }) => at).filter((at) => at > from)]
    const pauseMs = Math.max(...times.slice(1).map((at, index) => at - (times[index] ?? at)))
    t.diagnostic(`longest time without a piece ${pauseMs} ms, ${failed.length} pieces failed`)
    assert.ok(pauseMs < 2000 * timerSlowness, `${pauseMs} ms`)
  })
}

test('A peer that may lock no memory falls back to TCP and says why', async (t) => {
  const [, , [only], scheduler] = await holderAndChild(t, 1)
  assert.ok(only !== undefined)
  // Root may lock what it wants, unless that right is taken.
  const limited = await rdmaPeer(t, 'child', { scheduler }, [
    ...['setpriv', '--inh-caps=-ipc_lock', '--bounding-set=-ipc_lock'],
    ...['prlimit', `--memlock=${256 * 1024}`],
  ])
  const { sha256 } = await limited.far.ask('download', { url: only.url, options: never })
  assert.equal(sha256, only.content.sha256())
  const { fallbacks, changes } = await facts(limited)
  const reasons = [...fallbacks, ...changes].map(shownReason)
  t.diagnostic([...new Set(reasons)].join('; '))
  assert.ok(
    reasons.some((reason) => reason.includes('ulimit -l')),
    reasons.join('; '),
  )
})

/** A seed that holds content of so many URLs in memory, and an empty peer. */
async function holderAndChild(
  t: Parameters<typeof origin>[0],
  count: number,
  childOptions: PeerOptions = {},
): Promise<
  readonly [RdmaPeer, RdmaPeer, readonly { url: string; content: Origin['content'] }[], string]
> {
  const origins = await Promise.all(
    Array.from({ length: count }, (_, at) => origin(t, { length, seed: 50 + at })),
  )
  const holder = await rdmaPeer(t, 'parent', { seedPeer: true, store: 'memory' })
  const { schedulerAddress: scheduler } = holder
  const child = await rdmaPeer(t, 'child', { scheduler, ...childOptions })
  const urls = origins.map(({ url, content }) => ({ url, content }))
  for (const { url } of urls) {
    const { info } = await holder.far.ask('download', { url, allocated: length })
    assert.equal(info.traffic.source, length)
  }
  return [holder, child, urls, scheduler]
}

async function facts({ far }: RdmaPeer): Promise<Facts> {
  return far.ask('facts', undefined)
}

/** The transports over which the pieces of the last content came. */
async function lastKept(peer: RdmaPeer): Promise<readonly string[]> {
  const { kept } = await facts(peer)
  return kept.slice(-Math.ceil(length / (4 * MiB))).map(({ transport }) => transport)
}

/** Without the name of the parent. */
function shownReason({ reason }: { readonly reason: string }): string {
  return reason.replace(/^Parent \S+ /, '')
}
