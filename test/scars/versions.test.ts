import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { Peer } from '../../src/index.ts'
import { runsOf, startPeer, waitFor } from '../peer/start-peer.ts'
import { cleanup } from '../support/cleanup.ts'
import type { Content } from '../support/content.ts'
import { type Origin, origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyBytes } from '../support/verify.ts'
import { limit, mib } from './swarm.ts'

const length = 17 * mib
const never = { backToSource: 'never' } as const

/** A peer that never waits long, with content in memory. */
function child(t: TestContext, hub: Peer): Promise<Peer> {
  const limits = { parentsTimeoutMs: 500 }
  return startPeer(t, { scheduler: hub.schedulerAddress, store: 'memory', limits })
}

/** Which of these it is, from its first byte to its last. */
function onlyOneOf(bytes: Uint8Array, ...contents: readonly Content[]): Content {
  const found = contents.find((content) => content.difference(bytes, 0) === undefined)
  assert.ok(found !== undefined, 'The bytes are of several versions')
  return found
}

/** Two parents: one fetched the content before it changed at the origin, the other after. */
async function twoVersions(
  t: TestContext,
  from: Origin,
  hub: Peer,
): Promise<{ readonly old: Content; readonly fresh: Content }> {
  const old = from.content
  await (await child(t, hub)).download(from.url).done
  from.change({})
  await (await child(t, hub)).download(from.url).done
  return { old, fresh: from.content }
}

for (const [name, options] of [
  ['an entity tag', {}],
  ['a date', { etag: false }],
] as const) {
  test(
    `Scar: two parents hold different versions, and a child that may not ask the origin mixes nothing, told by ${name}`,
    limit,
    async (t) => {
      const from = await origin(t, { length, ...options })
      const hub = await startPeer(t)
      const { old, fresh } = await twoVersions(t, from, hub)
      for (let count = 0; count < 6; count++) {
        const bytes = await (await child(t, hub)).download(from.url, never).bytes()
        onlyOneOf(bytes, old, fresh)
      }
      const asked = await (await child(t, hub)).download(from.url).bytes()
      verifyBytes(asked, fresh)
    },
  )
}

test(
  'Scar: a parent gets another version while a child reads from it, and the child mixes nothing',
  limit,
  async (t) => {
    const from = await origin(t, { length })
    const hub = await startPeer(t)
    const old = from.content
    const parent = await child(t, hub)
    await parent.download(from.url).done
    const slow = await startPeer(t, {
      scheduler: hub.schedulerAddress,
      store: 'memory',
      limits: { parentsTimeoutMs: 500, downloadBytesPerSecond: 8 * mib, concurrency: 1 },
    })
    let changed: Promise<unknown> | undefined
    const onProgress = (): void => {
      if (changed !== undefined) return
      from.change({})
      changed = parent.download(from.url).done
    }
    const first = slow.download(from.url, { ...never, onProgress }).bytes()
    await assert.rejects(first, (error) => PeerError.is(error, 'ORIGIN_CHANGED', 'NO_PARENTS'))
    await changed
    const bytes = await slow.download(from.url, never).bytes()
    assert.equal(onlyOneOf(bytes, old, from.content), from.content)
  },
)

for (const [name, change] of [
  ['', {}],
  [' of another length', { length: length - mib }],
] as const) {
  test(
    `Scar: a kept part of an old version does not stand in the way of a new one${name}, after a restart either`,
    limit,
    async (t) => {
      const from = await origin(t, { length })
      const hub = await startPeer(t)
      const dir = tempFolder(t)
      const settings = {
        scheduler: hub.schedulerAddress,
        store: { dir },
        limits: { parentsTimeoutMs: 500 },
      }
      const parent = await child(t, hub)
      await parent.download(from.url).done
      const before = await Peer.start(settings)
      cleanup(t, () => before.destroy())
      await before.download(from.url, { ...never, range: { start: 0, length: 5 * mib } }).done
      await before.close()
      from.change(change)
      await parent.download(from.url).done
      const after = await startPeer(t, settings)
      // It cannot know before it has asked: the first try says so, the second has it.
      await assert.rejects(after.download(from.url, never).bytes(), (error) =>
        PeerError.is(error, 'ORIGIN_CHANGED', 'NO_PARENTS'),
      )
      const bytes = await after.download(from.url, never).bytes()
      verifyBytes(bytes, from.content)
    },
  )
}

test(
  'Scar: a download that waits for another one asks the origin again, which has another version by then',
  limit,
  async (t) => {
    const from = await origin(t, { length })
    const peer = await startPeer(t, { store: 'memory', limits: { parentsTimeoutMs: 1500 } })
    await peer.download(from.url, { range: { start: 0, length: 5 * mib } }).done
    const alone = assert.rejects(peer.download(from.url, never).done, { code: 'NO_PARENTS' })
    await waitFor(() => runsOf(peer).length === 1)
    const { stats } = from.counts
    const waiting = peer.download(from.url).bytes()
    await waitFor(() => from.counts.stats > stats)
    from.change({})
    verifyBytes(await waiting, from.content)
    await alone
  },
)
