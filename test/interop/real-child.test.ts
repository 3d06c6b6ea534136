import assert from 'node:assert/strict'
import { createReadStream, rmSync, statSync } from 'node:fs'
import { contentBytes } from '../e2e/support/swarm.ts'
import { origin } from '../support/origin.ts'
import { verifyFile, verifyStream } from '../support/verify.ts'
import { aloneBytesMax, lengths, ourCopy, realCopy, since } from './support/copies.ts'
import { bytesServed, heard } from './support/hooks.ts'
import { matrixTest } from './support/matrix.ts'
import { sharedSite } from './support/site.ts'
import { dfget } from './support/tool.ts'

const mebibyte = 1024 * 1024
const shared = sharedSite({ daemons: 2 })
let seed = 200

for (const { name, length } of lengths) {
  // Below that a real client would not ask anybody but the origin.
  const backToSource = length > aloneBytesMax
  const asked = backToSource ? '' : ', the origin forbidden'
  matrixTest(2, `real child, our parent, ${name}${asked}`, async (t, facts) => {
    const site = shared()
    const daemon = site.daemon(0)
    const served = await origin(t, { length, seed: ++seed })
    const peer = await site.peer(t)
    const { id, pieces: count } = await ourCopy(peer, { site, served })
    const sent = contentBytes(served)
    const given = heard(t, 'dragonfly-peer:piece:served')
    const before = await daemon.traffic()

    await realCopy(t, daemon, { site, served, facts }, { backToSource })

    const traffic = since(before, await daemon.traffic())
    facts.origin(served)
    facts.traffic('real', traffic)
    assert.deepEqual(traffic, { source: 0, peers: length, local: 0 })
    assert.equal(contentBytes(served), sent, 'the daemon reads nothing from the origin')
    assert.equal(bytesServed(given, id), length)
    const pieces = daemon.pieces(id)
    assert.equal(pieces.length, count)
    assert.equal(new Set(pieces.map(({ number }) => number)).size, count, 'each piece once')
    assert.ok(pieces.every(({ protocol }) => protocol === 'tcp'))
    assert.equal(
      pieces.reduce((sum) => sum + 1, 0),
      new Set(pieces.map((one) => one.number)).size,
    )
    assert.ok(pieces.every(({ parent }) => parent.startsWith(`${peer.hostId}-`)))
  })
}

matrixTest(
  2,
  'real child, our parent, 1 byte, the origin allowed: nobody is asked',
  async (t, facts) => {
    const site = shared()
    const daemon = site.daemon(0)
    const served = await origin(t, { length: 1, seed: ++seed })
    const peer = await site.peer(t)
    const { id } = await ourCopy(peer, { site, served })
    const given = heard(t, 'dragonfly-peer:piece:served')
    const before = await daemon.traffic()
    await realCopy(t, daemon, { site, served, facts })
    const traffic = since(before, await daemon.traffic())
    facts.traffic('real', traffic)
    assert.deepEqual(traffic, { source: 1, peers: 0, local: 0 })
    assert.equal(bytesServed(given, id), 0)
  },
)

matrixTest(2, 'real child, our parent, a range of 100 MiB + 7', async (t, facts) => {
  const site = shared()
  const daemon = site.daemon(0)
  const served = await origin(t, { length: 100 * mebibyte + 7, seed: ++seed })
  const peer = await site.peer(t)
  await ourCopy(peer, { site, served })
  const before = await daemon.traffic()
  const output = site.path('part')
  // Pieces 2 to 7.
  const args = ['-H', `Range: bytes=${9 * mebibyte + 3}-${30 * mebibyte + 2}`]
  const { tookMs } = await dfget(t, daemon.socketPath, served.url, { output, args }).done()
  facts.took(tookMs)
  const traffic = since(before, await daemon.traffic())
  facts.origin(served)
  facts.traffic('real', traffic)
  assert.deepEqual(traffic, { source: 0, peers: 24 * mebibyte, local: 0 })
  // The file has the length of everything and holes where nothing was fetched.
  assert.equal(statSync(output).size, served.content.length)
  const [start, end] = [8 * mebibyte, 32 * mebibyte - 1]
  const fetched = createReadStream(output, { start, end, highWaterMark: mebibyte })
  await verifyStream(fetched, served.content, start, end - start + 1)
  assert.equal(contentBytes(served), served.content.length)
})

matrixTest(2, 'real child, our parent that is still downloading, 100 MiB + 7', async (t, facts) => {
  const site = shared()
  const daemon = site.daemon(0)
  const length = 100 * mebibyte + 7
  const served = await origin(t, { length, seed: ++seed, bytesPerSecond: 4 * mebibyte })
  const peer = await site.peer(t, { limits: { downloadBytesPerSecond: 12 * mebibyte } })
  const kept = heard(t, 'dragonfly-peer:piece:kept')
  const given = heard(t, 'dragonfly-peer:piece:served')
  const own = peer.download(served.url)
  let ownDone = false
  const done = own.done.finally(() => {
    ownDone = true
  })
  await served.until(() => kept.length >= 3)
  const output = site.path('real')
  const before = await daemon.traffic()
  const tool = dfget(t, daemon.socketPath, served.url, { output })
  await tool.program.until('gets a first piece from us', () => given.length > 0)
  assert.equal(ownDone, false, 'we gave a piece before we had everything')
  const atFirst = kept.length
  const [{ tookMs }, info] = await Promise.all([tool.done(), done])

  facts.took(tookMs)
  await verifyFile(output, served.content)
  rmSync(output)
  const traffic = since(before, await daemon.traffic())
  facts.origin(served)
  facts.traffic('ours', info.traffic)
  facts.traffic('real', traffic)
  facts.note(`first piece given when we had ${atFirst} of ${info.pieces}`)
  assert.deepEqual(traffic, { source: 0, peers: length, local: 0 })
  assert.equal(contentBytes(served), length)
  assert.ok(atFirst < info.pieces)
})

matrixTest(2, 'two real children together, our parent, 100 MiB + 7', async (t, facts) => {
  const site = shared()
  const length = 100 * mebibyte + 7
  const served = await origin(t, { length, seed: ++seed })
  const peer = await site.peer(t)
  await ourCopy(peer, { site, served })
  const before = await Promise.all(site.daemons.map(async (daemon) => daemon.traffic()))
  const start = performance.now()
  await Promise.all(site.daemons.map(async (daemon) => realCopy(t, daemon, { site, served })))
  facts.took(performance.now() - start)
  facts.origin(served)
  assert.equal(contentBytes(served), length)
  for (const [at, daemon] of site.daemons.entries()) {
    const earlier = before[at] ?? { source: 0, peers: 0, local: 0 }
    const traffic = since(earlier, await daemon.traffic())
    facts.traffic(`real ${at + 1}`, traffic)
    assert.deepEqual(traffic, { source: 0, peers: length, local: 0 })
  }
})
