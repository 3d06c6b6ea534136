import assert from 'node:assert/strict'
import { join } from 'node:path'
import test from 'node:test'
import type { PeerOptions } from '../../src/index.ts'
import { origin } from '../support/origin.ts'
import { PeerProcess } from './support/peer-process.ts'
import { assertCopies, contentBytes, Swarm } from './support/swarm.ts'

const mebibyte = 1024 * 1024
const length = 40 * mebibyte + 9

/** Milliseconds for the rest of a download that lost its seed and its scheduler: some for noticing, and plenty for a busy machine. */
const rescueMs = 30_000

/** Slow enough for something to happen in the middle of a download. */
const slow: PeerOptions = { limits: { downloadBytesPerSecond: 16 * mebibyte } }

test('A peer that is killed in the middle costs the others nothing but time', async (t) => {
  const swarm = await Swarm.start(t, 3, slow)
  const served = await origin(t, { length, seed: 21 })
  const [victim, ...others] = swarm.others
  assert.ok(victim !== undefined)
  const killed = assert.rejects(
    victim.download(served.url, join(victim.folder, 'file'), {}, (bytes) => {
      if (bytes >= 8 * mebibyte) void victim.kill()
    }),
  )
  const copies = await Promise.all(
    others.map(async (peer) => peer.download(served.url, join(peer.folder, 'file'))),
  )
  await killed
  assertCopies(copies, served)
  assert.equal(contentBytes(served), length)
  await Promise.all(others.map(async (peer) => peer.close()))
  await swarm.seed.close()
})

test('When the seed dies with its scheduler, the others end from what they have and the origin', async (t) => {
  const swarm = await Swarm.start(t, 2, slow)
  const served = await origin(t, { length, seed: 22 })
  let killedAt: number | undefined
  const onProgress = (bytes: number): void => {
    if (killedAt !== undefined || bytes < 8 * mebibyte) return
    killedAt = performance.now()
    void swarm.seed.kill()
  }
  const copies = await Promise.all(
    swarm.others.map(async (peer) =>
      peer.download(served.url, join(peer.folder, 'file'), {}, onProgress),
    ),
  )
  assertCopies(copies, served)
  assert.ok(killedAt !== undefined)
  const tookMs = performance.now() - killedAt
  assert.ok(tookMs < rescueMs, `The rest took ${tookMs} ms`)
  // Nobody starts again from the beginning: the seed's part and, at most, the rest for each.
  assert.ok(contentBytes(served) <= 3 * length)
  await Promise.all(swarm.others.map(async (peer) => peer.close()))
})

test('A peer that was killed goes on after its restart with what it kept', async (t) => {
  const served = await origin(t, { length, seed: 23 })
  const first = await PeerProcess.start(t, slow)
  const killed = assert.rejects(
    first.download(served.url, join(first.folder, 'file'), {}, (bytes) => {
      if (bytes >= 16 * mebibyte) void first.kill()
    }),
  )
  await killed
  const sent = contentBytes(served)
  const second = await PeerProcess.start(t, {}, first.folder)
  const copy = await second.download(served.url, join(first.folder, 'file'))
  assertCopies([copy], served)
  assert.ok(copy.info.traffic.source < length, `${copy.info.traffic.source} bytes came again`)
  assert.ok(contentBytes(served) - sent < length)
  await second.close()
})

test('An origin that ends early, resets and is slow to answer: the copies are exact all the same', async (t) => {
  const swarm = await Swarm.start(t, 3)
  const served = await origin(t, {
    length,
    seed: 24,
    answer: ({ number, kind }) => {
      if (kind === 'stat' || number % 3 !== 1) return undefined
      return number % 2 === 0
        ? { is: 'end', afterBytes: mebibyte }
        : { is: 'reset', afterBytes: 100_000 }
    },
  })
  assertCopies(await swarm.download(served.url, 'file'), served)
  await swarm.close()
})

test('A scheduler that comes back hears what the others have when one of them speaks to it', async (t) => {
  const served = await origin(t, { length: 9 * mebibyte, seed: 25 })
  const first = await PeerProcess.start(t)
  const { schedulerAddress: scheduler } = first
  const holder = await PeerProcess.start(t, { scheduler })
  assert.equal((await holder.keep(served.url)).length, served.content.length)
  await first.kill()

  const schedulerPort = Number(scheduler.split(':').at(-1))
  const second = await PeerProcess.start(t, { listen: { schedulerPort } })
  // It would be heard at the next announcement anyway; whoever speaks to it before that is asked who it is.
  await holder.keep(served.urlOf('/other'))
  const limits = { parentsTimeoutMs: 90_000 }
  const reader = await PeerProcess.start(t, { scheduler, limits })
  const copy = await reader.download(served.url, join(reader.folder, 'file'), {
    backToSource: 'never',
  })
  assertCopies([copy], served)
  assert.equal(copy.info.traffic.peers, served.content.length)
  for (const peer of [reader, holder, second]) await peer.close()
})

test('A peer that was killed and comes back with empty memory is no holder of what it had', async (t) => {
  const served = await origin(t, { length, seed: 23 })
  const scheduler = await PeerProcess.start(t)
  const options: PeerOptions = {
    ...slow,
    store: 'memory',
    host: { hostname: 'phoenix' },
    scheduler: scheduler.schedulerAddress,
  }
  const before = await PeerProcess.start(t, { ...options, limits: {} })
  await before.keep(served.url)
  while ((await statesAt(scheduler))[0] !== 'Succeeded') continue
  await before.kill()
  const after = await PeerProcess.start(t, options)
  let seen: Promise<readonly string[]> | undefined
  await after.download(served.url, join(after.folder, 'file'), {}, (bytes) => {
    if (bytes > 0) seen ??= statesAt(scheduler)
  })
  assert.deepEqual(await seen, ['BackToSource'])
  await after.close()
  await scheduler.close()
})

/** Where the peers of the only task stand, as the embedded scheduler of this peer sees them. */
async function statesAt(peer: PeerProcess): Promise<readonly string[]> {
  const { scheduling } = (await peer.explain()) as {
    scheduling: { tasks: readonly { peers: readonly { is: string }[] }[] }
  }
  return scheduling.tasks.flatMap(({ peers }) => peers.map(({ is }) => is))
}
