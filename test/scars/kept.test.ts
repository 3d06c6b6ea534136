import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { Peer } from '../../src/index.ts'
import { startPeer } from '../peer/start-peer.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyBytes, verifyFile } from '../support/verify.ts'
import { collected, contentFiles, hasty, limit, mib } from './swarm.ts'

test('Scar: what fails its digest does not spread from the seed', limit, async (t) => {
  let rotten = true
  const from = await origin(t, {
    length: 9 * mib,
    answer: ({ kind }) => (rotten && kind !== 'stat' ? { is: 'corrupt', at: 5 * mib } : undefined),
  })
  const digest = `sha256:${from.content.sha256()}`
  const seed = await startPeer(t, { seedPeer: true })
  const child = await startPeer(t, { scheduler: seed.schedulerAddress })
  const other = await startPeer(t, { scheduler: seed.schedulerAddress })
  await assert.rejects(child.download(from.url, { digest }).bytes(), (error) =>
    PeerError.is(error, 'DIGEST_MISMATCH'),
  )
  rotten = false
  verifyBytes(await other.download(from.url, { digest }).bytes(), from.content)
  verifyBytes(await child.download(from.url, { digest }).bytes(), from.content)
})

test('Scar: pieces that rot on the disk of a seed do not reach its children', limit, async (t) => {
  const from = await origin(t, { length: 9 * mib })
  const dir = tempFolder(t)
  const hub = await startPeer(t)
  const before = await Peer.start({ scheduler: hub.schedulerAddress, store: { dir } })
  cleanup(t, () => before.destroy())
  await before.download(from.url).done
  await before.close()
  const [file] = contentFiles(dir)
  assert.ok(file !== undefined)
  spoil(file, 6 * mib)
  await startPeer(t, { scheduler: hub.schedulerAddress, store: { dir } })
  const child = await startPeer(t, { scheduler: hub.schedulerAddress })
  const download = child.download(from.url)
  verifyBytes(await download.bytes(), from.content)
  const { traffic } = await download.done
  assert.equal(traffic.source, 4 * mib, 'the piece that had rotted, and no other')
})

test('Scar: a ranged download does not pass for the whole task', limit, async (t) => {
  const from = await origin(t, { length: 13 * mib })
  const parent = await startPeer(t)
  const child = await startPeer(t, {
    scheduler: parent.schedulerAddress,
    limits: { parentsTimeoutMs: 500 },
  })
  const range = { start: 5 * mib, length: 100 }
  verifyBytes(await parent.download(from.url, { range }).bytes(), from.content, range.start)
  // Nobody has everything, and nobody may say so.
  await assert.rejects(child.download(from.url, { backToSource: 'never' }).bytes(), (error) =>
    PeerError.is(error, 'NO_PARENTS'),
  )
  const part = child.download(from.url, { range, backToSource: 'never' })
  verifyBytes(await part.bytes(), from.content, range.start)
  const whole = child.download(from.url)
  const path = join(tempFolder(t), 'out')
  await whole.toFile(path)
  await verifyFile(path, from.content)
  verifyBytes(await parent.download(from.url).bytes(), from.content)
})

test(
  'Scar: writing to a downloaded file does not change what other peers get',
  limit,
  async (t) => {
    const from = await origin(t, { length: 9 * mib })
    const parent = await startPeer(t)
    const child = await startPeer(t, { scheduler: parent.schedulerAddress, sources: hasty() })
    const path = join(tempFolder(t), 'out')
    await parent.download(from.url).toFile(path)
    spoil(path, 5 * mib)
    // Where the file shares its bytes with the store, the piece that was written to is found out and dropped.
    verifyBytes(await child.download(from.url).bytes(), from.content)
    verifyBytes(await parent.download(from.url).bytes(), from.content)
  },
)

test(
  'Scar: a seeded file that is changed underneath is not served as the old one',
  limit,
  async (t) => {
    const content = new Content(9 * mib, 3)
    const path = join(tempFolder(t), 'model')
    writeFileSync(path, content.bytes())
    const url = 'http://127.0.0.1:9/model'
    const dropped = collected(t, 'dragonfly-peer:store:dropped')
    const seeder = await startPeer(t)
    await seeder.seed(path, { url })
    const first = await startPeer(t, { scheduler: seeder.schedulerAddress })
    verifyBytes(
      await first.download(url, { backToSource: 'never', range: { start: 0, length: 10 } }).bytes(),
      content,
    )
    spoil(path, 5 * mib)
    const child = await startPeer(t, {
      scheduler: seeder.schedulerAddress,
      limits: { parentsTimeoutMs: 500 },
    })
    await assert.rejects(child.download(url, { backToSource: 'never' }).bytes(), (error) =>
      PeerError.is(error, 'NO_PARENTS'),
    )
    assert.equal(readFileSync(path).length, content.length, 'the file itself is nobody else’s')
    assert.ok(dropped.length <= 2)
  },
)

/** Changes one byte where it lies, as another program would. */
function spoil(path: string, at: number): void {
  const bytes = readFileSync(path)
  const file = openSync(path, 'r+')
  writeSync(file, Buffer.from([255 - (bytes[at] ?? 0)]), 0, 1, at)
  closeSync(file)
}
