/** Scars: who alone has a piece falls silent, and the origin could be asked. */
import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { Peer, TaskInfo } from '../../src/index.ts'
import { startPeer } from '../peer/start-peer.ts'
import { type Origin, origin } from '../support/origin.ts'
import { verifyBytes } from '../support/verify.ts'
import { assertTraffic, onePiece, scene } from '../traps/scene.ts'
import { stoppingPeer } from './stopping-peer.ts'
import { limit, mib } from './swarm.ts'

/** Some for noticing, and plenty for a busy machine; by the time-out of a piece alone it would be a minute. */
const noticedMs = 8000

test(
  'Scar: a parent that tells of its pieces and then says nothing at all gives way to the origin',
  limit,
  async (t) => {
    const { parents, download } = await scene(t)
    const [parent] = parents
    assert.ok(parent !== undefined)
    parent.onPiece = () => {
      // From now on it accepts connections and calls, and answers none.
      parent.onSync = () => undefined
    }
    const begun = performance.now()
    assertTraffic(await download(), { source: onePiece, peers: 0 })
    assert.ok(performance.now() - begun < noticedMs)
    assert.equal(parent.asked.length, 1)
  },
)

const length = 33 * mib

test(
  'Scar: the only parent stops in the middle, and the rest comes from the origin',
  limit,
  async (t) => {
    const { tookMs, infos, from } = await stopped(t, 1)
    assert.ok(tookMs < noticedMs, `${tookMs} ms`)
    const { source = 0, peers = 0 } = infos[0]?.traffic ?? {}
    assert.ok(source > 0 && peers > 0 && source + peers === length)
    // What the parent took to begin with, and the rest; questions for the length take a byte each.
    assert.ok(from.counts.bytes - length - source < 100, `${from.counts.bytes}`)
  },
)

test(
  'Scar: children whose only parent stops do not go to the origin each for itself',
  limit,
  async (t) => {
    const { tookMs, from } = await stopped(t, 4)
    assert.ok(tookMs < noticedMs, `${tookMs} ms`)
    assert.ok(from.counts.bytes <= 2.05 * length, `${from.counts.bytes / length} times the content`)
  },
)

/** So many peers download from one, which stops with the first piece that any of them has. */
async function stopped(
  t: TestContext,
  count: number,
): Promise<{
  readonly tookMs: number
  readonly infos: readonly TaskInfo[]
  readonly from: Origin
}> {
  const from = await origin(t, { length })
  const hub = await startPeer(t)
  const scheduler = hub.schedulerAddress
  const limits = { uploadBytesPerSecond: 32 * mib }
  const parent = await stoppingPeer(t, { scheduler, limits, store: 'memory' }, from.url)
  const children: Peer[] = []
  for (let at = 0; at < count; at++) {
    children.push(await startPeer(t, { scheduler, store: 'memory' }))
  }
  let stoppedAt = 0
  const onProgress = (): void => {
    if (stoppedAt === 0) parent.stop()
    stoppedAt ||= performance.now()
  }
  const infos = await Promise.all(
    children.map(async (child) => {
      const download = child.download(from.url, { onProgress })
      verifyBytes(await download.bytes(), from.content)
      return download.done
    }),
  )
  return { tookMs: performance.now() - stoppedAt, infos, from }
}
