import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { ringOrder } from '../../src/hash/ring.ts'
import { standardTaskId } from '../../src/hash/task-id.ts'
import { openChannel } from '../../src/rpc/channel.ts'
import { SchedulerClient } from '../../src/scheduler/client.ts'
import { headersTimeoutMs } from '../../src/scheduler/session.ts'
import { waitFor } from '../peer/start-peer.ts'
import { registration } from '../scheduler/script.ts'
import { subscribed } from '../scheduler/subscribed.ts'
import { VirtualClock } from '../sim/clock.ts'
import { cleanup } from '../support/cleanup.ts'
import { origin } from '../support/origin.ts'
import { verifyBytes } from '../support/verify.ts'
import { GoScheduler } from './go-scheduler.ts'
import { RustParent } from './rust-parent.ts'
import { assertTraffic, namesAll, onePiece, scene, startPeer, twoPieces } from './scene.ts'

const limit = { timeout: 30_000 }

/** Answers announcements of what is held as a Go scheduler does; the rest is left to another rule. */
function takesHeld(otherwise: GoScheduler['on']): GoScheduler['on'] {
  return (stream, request) => {
    if (request.case !== 'registerPeerRequest' || request.value.download?.metadataOnly !== true) {
      return otherwise(stream, request)
    }
    stream.answer({ case: 'metadataOnlyResponse', value: {} })
    return undefined
  }
}

/** Tasks that were announced as held, to the end. */
function held(scheduler: GoScheduler): readonly string[] {
  return scheduler.streams
    .filter(({ requests: [first] }) => {
      return first?.case === 'registerPeerRequest' && first.value.download?.metadataOnly === true
    })
    .filter(({ heard }) => heard.at(-1) === 'downloadPeerFinishedRequest')
    .map(({ taskId }) => taskId)
}

/** A client of these schedulers, in which no time passes. */
function clientOf(
  t: TestContext,
  schedulers: readonly GoScheduler[],
  clock: VirtualClock,
): SchedulerClient {
  const client = new SchedulerClient({
    addresses: schedulers.map(({ address }) => address),
    open: (address) => openChannel({ address }),
    host: () => ({ id: 'me', hostname: 'me', ip: '127.0.0.1', port: 4000, seed: false }),
    clock,
  })
  cleanup(t, () => client.close())
  return client
}

describe('When the scheduler', { concurrency: 64 }, () => {
  it(
    'is down at start, the peer starts, downloads, and announces everything when it comes',
    limit,
    async (t) => {
      const from = await origin(t, { length: onePiece })
      const scheduler = await GoScheduler.start(t, takesHeld(namesAll([])))
      scheduler.die()
      const peer = await startPeer(t, { scheduler: scheduler.address })
      const info = await peer.download(from.url).done
      assert.deepEqual(info.traffic, { source: onePiece, peers: 0, local: 0 })
      await scheduler.rise()
      await waitFor(() => held(scheduler).includes(info.id))
      assert.deepEqual(
        scheduler.hosts.map(({ ip }) => ip),
        ['127.0.0.1'],
      )
    },
  )

  it(
    'dies in the middle, the parents are kept, and no piece is counted twice',
    limit,
    async (t) => {
      const lost = subscribed(t, 'dragonfly-peer:scheduler:lost')
      const { download, scheduler, parents, from } = await scene(t, { length: twoPieces })
      const [parent] = parents
      assert.ok(parent !== undefined)
      const { address } = scheduler
      const isLost = (): boolean => lost.some((each) => each.address === address)
      let served = 0
      parent.onPiece = (socket, number) => {
        if (served++ === 0) parent.sendPiece(socket, number)
        else void waitFor(isLost).then(() => parent.sendPiece(socket, number))
      }
      const kept: number[] = []
      const info = await download({
        onProgress: ({ pieces, bytes }) => {
          kept.push(pieces)
          if (pieces === 1) scheduler.die()
          assert.ok(bytes <= twoPieces)
        },
      })
      assert.ok(isLost())
      assertTraffic(info, { source: 0, peers: twoPieces })
      assert.deepEqual(kept, [1, 2])
      assert.deepEqual(parent.asked.toSorted(), [0, 1])
      assert.equal(from.counts.ranged, 0)
    },
  )

  it('of a task is down, every peer asks the next one of the ring', limit, async (t) => {
    const from = await origin(t, { length: onePiece })
    const parent = await RustParent.start(t, from.content)
    const start = (): Promise<GoScheduler> => GoScheduler.start(t, takesHeld(namesAll([parent])))
    const schedulers = await Promise.all([start(), start(), start()])
    const addresses = schedulers.map(({ address }) => address)
    const peers = await Promise.all(
      ['a', 'b'].map((hostname) => startPeer(t, { scheduler: addresses, host: { hostname } })),
    )
    const [owner, next, last] = ringOrder(addresses, standardTaskId({ url: from.url })).map(
      (address) => schedulers.find((each) => each.address === address),
    )
    assert.ok(owner !== undefined && next !== undefined && last !== undefined)
    owner.die()
    for (const peer of peers) {
      const handle = peer.download(from.url)
      verifyBytes(await handle.bytes(), from.content)
      assertTraffic(await handle.done, { source: 0, peers: onePiece })
    }
    assert.equal(new Set(next.streams.map(({ hostId }) => hostId)).size, 2)
    assert.deepEqual([owner.streams.length, last.streams.length], [0, 0])
  })

  it(
    'has forgotten this host, it is told of it and of everything that lies here',
    limit,
    async (t) => {
      const { scheduler, peer, from } = await scene(t, {
        on: (all) => takesHeld(namesAll(all)),
      })
      const { id } = await peer.download(from.url).done
      const { length } = scheduler.hosts
      scheduler.known.clear()
      const second = peer.download(from.urlOf('/second'))
      verifyBytes(await second.bytes(), from.content)
      assertTraffic(await second.done, { source: 0, peers: onePiece })
      assert.equal(scheduler.hosts.length, length + 1)
      await waitFor(() => held(scheduler).includes(id))
    },
  )

  it('ends the stream with a status and a reset, nobody waits any longer', limit, async (t) => {
    const clock = new VirtualClock()
    const scheduler = await GoScheduler.start(t, namesAll([]))
    scheduler.known.add('me')
    const session = clientOf(t, [scheduler], clock).open(registration)
    assert.equal((await session.next(new AbortController().signal))?.is, 'parents')
    session.started()
    // For a scheduler that does not end the stream it would be 2 s, and no time passes here.
    await session.finish({ is: 'done', source: false })
    assert.equal(scheduler.stream.heard.at(-1), 'downloadPeerFinishedRequest')
    assert.equal(clock.now(), 0)
  })

  it('takes a call and never begins to answer, the next one is asked', limit, async (t) => {
    const clock = new VirtualClock()
    const silent = await GoScheduler.start(t, () => true)
    const other = await GoScheduler.start(t, () => true)
    const schedulers = [silent, other]
    for (const each of schedulers) each.known.add('me')
    const session = clientOf(t, schedulers, clock).open(registration)
    const answer = session.next(new AbortController().signal)
    const asked = (): number => schedulers.flatMap(({ streams }) => streams).length
    await waitFor(() => schedulers.some(({ streams }) => (streams[0]?.heard.length ?? 0) > 0))
    assert.equal(asked(), 1)
    const second = schedulers.find(({ streams }) => streams.length === 0)
    assert.ok(second !== undefined)
    second.on = (stream) => {
      stream.source()
      return true
    }
    await clock.pass(headersTimeoutMs)
    assert.deepEqual(await answer, { is: 'source' })
    assert.equal(asked(), 2)
  })
})
