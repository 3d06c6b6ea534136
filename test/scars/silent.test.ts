/** Scars: who alone has a piece falls silent, and the origin could be asked. */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { Peer, TaskInfo } from '../../src/index.ts'
import { startPeer } from '../peer/start-peer.ts'
import { type Origin, origin } from '../support/origin.ts'
import { verifyBytes } from '../support/verify.ts'
import { stoppingPeer } from './stopping-peer.ts'
import { mib } from './swarm.ts'

/** 3.5 to 4 s until it is noticed, and some for a busy machine; by the time-outs alone it would be 11 to 60 s. */
const noticedMs = 9000
/** How long a process stands still: longer than a parent that does gets until it is given up. */
const stoppedMs = 5000
const length = 33 * mib
/** The tests have bounds of their own for what counts; this one is for a test that hangs. */
const limit = { timeout: 120_000 }

test(
  'Scar: the only parent stops in the middle, and the rest comes from the origin',
  limit,
  async (t) => {
    const { tookMs, infos, from } = await stopped(t, 1, 'in the middle')
    assert.ok(tookMs < noticedMs, `${tookMs} ms`)
    const { source = 0, peers = 0 } = infos[0]?.traffic ?? {}
    assert.ok(source > 0 && peers > 0 && source + peers === length)
    // What the parent took to begin with, and the rest; questions for the length take a byte each.
    assert.ok(from.counts.bytes - length - source < 100, `${from.counts.bytes}`)
  },
)

test(
  'Scar: the only parent has stopped before it is asked, and everything comes from the origin',
  limit,
  async (t) => {
    const { tookMs, infos } = await stopped(t, 1, 'before')
    assert.ok(tookMs < noticedMs, `${tookMs} ms`)
    assert.equal(infos[0]?.traffic.source, length)
  },
)

test(
  'Scar: the only parent stops and the scheduler with it, and the rest comes from the origin',
  limit,
  async (t) => {
    const { tookMs, infos } = await stopped(t, 1, 'in the middle', 'scheduler')
    assert.ok(tookMs < 2 * noticedMs - 6000, `${tookMs} ms`)
    const { source = 0, peers = 0 } = infos[0]?.traffic ?? {}
    assert.ok(source > 0 && peers > 0 && source + peers === length)
  },
)

test(
  'Scar: the only parent, a seed, stops, and nobody waits until it begins anew',
  limit,
  async (t) => {
    const { tookMs, infos } = await stopped(t, 1, 'in the middle', 'seed')
    assert.ok(tookMs < noticedMs, `${tookMs} ms`)
    const { source = 0, peers = 0 } = infos[0]?.traffic ?? {}
    assert.ok(source > 0 && peers > 0 && source + peers === length)
  },
)

test(
  'Scar: children whose only parent stops do not go to the origin each for itself',
  limit,
  async (t) => {
    const { tookMs, from } = await stopped(t, 4, 'in the middle')
    assert.ok(tookMs < noticedMs, `${tookMs} ms`)
    assert.ok(from.counts.bytes <= 2.05 * length, `${from.counts.bytes / length} times the content`)
  },
)

test(
  'Scar: a peer that stood still itself for 5 s blames nobody, and does not go to the origin',
  limit,
  async (t) => {
    const from = await origin(t, { length })
    const parent = await startPeer(t, { limits: { uploadBytesPerSecond: 8 * mib } })
    await parent.download(from.url).done
    const before = from.counts.bytes
    const scheduler = parent.schedulerAddress
    const child = stoppingPeer(t, { scheduler, store: 'memory' }, from.url)
    await child.begun
    child.stop()
    await new Promise((resolve) => setTimeout(resolve, stoppedMs))
    child.go()
    assert.deepEqual(await child.kept, { is: 'kept', source: 0, blamed: 0 })
    // A question for the length takes a byte.
    assert.ok(from.counts.bytes - before < 100, `${from.counts.bytes - before}`)
  },
)

/** So many peers download from one, which stops with the first piece that any of them has, or before. It may be their scheduler or a seed, too. */
async function stopped(
  t: TestContext,
  count: number,
  when: 'before' | 'in the middle',
  is: 'peer' | 'scheduler' | 'seed' = 'peer',
): Promise<{
  readonly tookMs: number
  readonly infos: readonly TaskInfo[]
  readonly from: Origin
}> {
  const from = await origin(t, { length })
  const limits = { uploadBytesPerSecond: 32 * mib }
  const hub = is === 'scheduler' ? undefined : (await startPeer(t)).schedulerAddress
  const joins = hub === undefined ? {} : { scheduler: hub, seedPeer: is === 'seed' }
  const parent = stoppingPeer(t, { ...joins, limits, store: 'memory' }, from.url)
  const [own] = await Promise.all([parent.started, parent.kept])
  const scheduler = hub ?? own
  const children: Peer[] = []
  for (let at = 0; at < count; at++) {
    children.push(await startPeer(t, { scheduler, store: 'memory' }))
  }
  let stoppedAt = 0
  const stop = (): void => {
    if (stoppedAt === 0) parent.stop()
    stoppedAt ||= performance.now()
  }
  if (when === 'before') stop()
  const infos = await Promise.all(
    children.map(async (child) => {
      const download = child.download(from.url, { onProgress: stop })
      verifyBytes(await download.bytes(), from.content)
      return download.done
    }),
  )
  const tookMs = performance.now() - stoppedAt
  t.diagnostic(`${Math.round(tookMs)} ms`)
  return { tookMs, infos, from }
}
