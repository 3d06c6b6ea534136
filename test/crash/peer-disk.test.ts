import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { HookMessages, HookName } from '../../src/hooks.ts'
import type { Download } from '../../src/peer/download.ts'
import { Peer } from '../../src/peer/peer.ts'
import { startPeer } from '../peer/start-peer.ts'
import { cleanup } from '../support/cleanup.ts'
import { leaks } from '../support/leaks.ts'
import { origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyBytes, verifyFile } from '../support/verify.ts'

const mib = 1024 * 1024

function heard<N extends HookName>(t: TestContext, name: N): HookMessages[N][] {
  const messages: HookMessages[N][] = []
  const listen = (message: unknown): void => void messages.push(message as HookMessages[N])
  subscribe(name, listen)
  cleanup(t, () => void unsubscribe(name, listen))
  return messages
}

/** Turns one bit in each of these places of the only content file of a store. */
function flip(dir: string, places: readonly number[]): void {
  const content = join(dir, 'content')
  const path = readdirSync(content, { recursive: true, encoding: 'utf8' })
    .map((name) => join(content, name))
    .find((name) => statSync(name).isFile())
  assert.ok(path !== undefined)
  const file = openSync(path, 'r+')
  const byte = new Uint8Array(1)
  for (const place of places) {
    readSync(file, byte, 0, 1, place)
    writeSync(file, Uint8Array.of((byte[0] ?? 0) ^ 1), 0, 1, place)
  }
  closeSync(file)
}

test('A peer whose kept pieces have flipped bits serves none of them, and fetches them again for itself', async (t) => {
  leaks(t)
  const from = await origin(t, { length: 14 * mib })
  const dir = join(tempFolder(t), 'store')
  const first = await Peer.start({ store: { dir } })
  await first.download(from.url).done
  await first.close()
  flip(dir, [5 * mib, 13 * mib])

  const parent = await startPeer(t, { store: { dir } })
  const child = await startPeer(t, { scheduler: parent.schedulerAddress })
  const dropped = heard(t, 'dragonfly-peer:store:dropped')
  const failed = heard(t, 'dragonfly-peer:piece:failed')
  verifyBytes(await child.download(from.url).bytes(), from.content)
  assert.deepEqual(dropped.map(({ bytes, why }) => [bytes, why]).toSorted(), [
    [2 * mib, 'damaged'],
    [4 * mib, 'damaged'],
  ])
  // Nothing arrived there that was not what it should be.
  assert.deepEqual(
    failed.filter(({ code }) => code === 'DIGEST_MISMATCH'),
    [],
  )
  const path = join(tempFolder(t), 'out')
  await parent.download(from.url).toFile(path)
  await verifyFile(path, from.content)
})

for (const [way, take] of [
  [
    'toFile()',
    async (download: Download, path: string) => {
      await download.toFile(path)
      return readFileSync(path)
    },
  ],
  ['bytes()', (download: Download) => download.bytes()],
  [
    'iteration',
    async (download: Download) => {
      const chunks: Uint8Array[] = []
      for await (const chunk of download) chunks.push(chunk)
      return Buffer.concat(chunks)
    },
  ],
] as const) {
  test(`Download: ${way} of kept content with flipped bits fetches what is damaged and nothing else`, async (t) => {
    leaks(t)
    const from = await origin(t, { length: 14 * mib })
    const dir = join(tempFolder(t), 'store')
    const first = await Peer.start({ store: { dir } })
    await first.download(from.url).done
    await first.close()
    flip(dir, [5 * mib, 13 * mib])
    const before = from.counts.bytes
    const peer = await startPeer(t, { store: { dir } })
    const path = join(tempFolder(t), 'out')
    verifyBytes(await take(peer.download(from.url), path), from.content)
    const fetched = from.counts.bytes - before
    assert.ok(fetched <= 6 * mib + 4096, `${fetched} bytes`)
  })

  test(`Download: ${way} with a digest, of kept content with flipped bits`, async (t) => {
    leaks(t)
    const from = await origin(t, { length: 14 * mib })
    const dir = join(tempFolder(t), 'store')
    const first = await Peer.start({ store: { dir } })
    const digest = `sha256:${from.content.sha256()}`
    await first.download(from.url, { digest }).done
    await first.close()
    flip(dir, [9 * mib])
    const peer = await startPeer(t, { store: { dir } })
    const path = join(tempFolder(t), 'out')
    verifyBytes(await take(peer.download(from.url, { digest }), path), from.content)
  })
}

test('Two peers that name no folder have a store each, and the next one finds that of the first again', async (t) => {
  leaks(t)
  const cache = tempFolder(t)
  const before = process.env['XDG_CACHE_HOME']
  process.env['XDG_CACHE_HOME'] = cache
  cleanup(t, () => {
    if (before === undefined) delete process.env['XDG_CACHE_HOME']
    else process.env['XDG_CACHE_HOME'] = before
  })
  const from = await origin(t, { length: mib })
  const first = await Peer.start()
  cleanup(t, () => first.close())
  const second = await Peer.start()
  cleanup(t, () => second.close())
  assert.deepEqual(readdirSync(join(cache, 'dragonfly-peer')).toSorted(), ['0', '1'])
  const dir = join(cache, 'dragonfly-peer', '0')
  await assert.rejects(Peer.start({ store: { dir } }), { code: 'STORE_LOCKED' })
  await first.download(from.url).done
  await first.close()
  const third = await Peer.start()
  cleanup(t, () => third.close())
  assert.equal(third.usage().disk?.tasks, 1)
  assert.equal(second.usage().disk?.tasks, 0)
})

test('Peer.usage() counts bytes and tasks of each store', async (t) => {
  leaks(t)
  const from = await origin(t, { length: mib })
  const store = { dir: tempFolder(t), bytesMax: 10 * mib }
  const peer = await startPeer(t, { store, limits: { memoryBytesMax: 20 * mib } })
  const nothing = { bytes: 0, tasks: 0 }
  const memory = { ...nothing, bytesMax: 20 * mib }
  assert.deepEqual(peer.usage(), { disk: { ...nothing, bytesMax: 10 * mib }, memory })
  await peer.download(from.url).done
  assert.deepEqual(peer.usage(), { disk: { bytes: mib, tasks: 1, bytesMax: 10 * mib }, memory })
  await peer.download(from.urlOf('/other'), { store: 'memory' }).done
  assert.deepEqual(peer.usage().memory, { bytes: mib, tasks: 1, bytesMax: 20 * mib })
  await peer.close()
  assert.equal(peer.usage().disk?.tasks, 1)
  const light = await startPeer(t, { store: 'memory' })
  assert.deepEqual(Object.keys(light.usage()), ['memory'])
})
