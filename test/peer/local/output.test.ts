import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Code } from '@connectrpc/connect'
import type { Source } from '../../../src/source/source.ts'
import { deferred } from '../../../src/util/deferred.ts'
import { leaks } from '../../support/leaks.ts'
import { origin } from '../../support/origin.ts'
import { verifyFile } from '../../support/verify.ts'
import { waitFor } from '../start-peer.ts'
import { download, localPeer, numbersOf } from './local-peer.ts'

const mib = 1024 * 1024

test('DownloadTask puts the content at the path, and again for another tool', async (t) => {
  leaks(t)
  const from = await origin(t, { length: 9 * mib + 5 })
  const local = await localPeer(t)
  for (const name of ['one', 'two']) {
    const outputPath = join(local.folder, name)
    const told = await download(local, { url: from.url, outputPath })
    assert.equal(told.error, undefined)
    assert.deepEqual(numbersOf(told).toSorted(), [0, 1, 2])
    await verifyFile(outputPath, from.content)
  }
  assert.equal(from.counts.ranged, 3)
})

test('DownloadTask puts exactly the range at the path', async (t) => {
  const from = await origin(t, { length: 9 * mib })
  const local = await localPeer(t)
  const outputPath = join(local.folder, 'out')
  const range = { start: BigInt(4 * mib - 3), length: 10n }
  const told = await download(local, { url: from.url, outputPath, range })
  assert.equal(told.error, undefined)
  await verifyFile(outputPath, from.content, 4 * mib - 3, 10)
})

test('DownloadTask leaves a file alone that it may not replace, and asks nobody', async (t) => {
  const from = await origin(t, { length: mib })
  const local = await localPeer(t)
  const outputPath = join(local.folder, 'out')
  await writeFile(outputPath, 'mine')
  const refused = await download(local, { url: from.url, outputPath })
  assert.equal(refused.error?.code, Code.AlreadyExists)
  assert.equal(refused.started, undefined)
  assert.equal(await readFile(outputPath, 'utf8'), 'mine')
  assert.equal(from.requests.length, 0)
  const allowed = await download(local, { url: from.url, outputPath, overwrite: true })
  assert.equal(allowed.error, undefined)
  await verifyFile(outputPath, from.content)
})

test('DownloadTask with a wrong digest keeps the file that was to be replaced', async (t) => {
  const from = await origin(t, { length: mib })
  const local = await localPeer(t)
  const outputPath = join(local.folder, 'out')
  await writeFile(outputPath, 'mine')
  const digest = `sha256:${'0'.repeat(64)}`
  const told = await download(local, { url: from.url, outputPath, digest, overwrite: true })
  assert.equal(told.error?.code, Code.DataLoss)
  assert.equal(await readFile(outputPath, 'utf8'), 'mine')
})

test('DownloadTask tells what is wrong with a path before it asks anybody', async (t) => {
  const from = await origin(t, { length: mib })
  const local = await localPeer(t)
  const folder = join(local.folder, 'folder')
  await mkdir(folder)
  const table: readonly (readonly [string, boolean, Code])[] = [
    [join(local.folder, 'missing', 'out'), false, Code.NotFound],
    [folder, false, Code.InvalidArgument],
    [folder, true, Code.InvalidArgument],
    [join(local.socketPath, 'out'), false, Code.NotFound],
  ]
  for (const [outputPath, overwrite, code] of table) {
    const told = await download(local, { url: from.url, outputPath, overwrite })
    assert.equal(told.error?.code, code, told.error?.message)
    assert.equal(told.started, undefined)
  }
  assert.equal(from.requests.length, 0)
})

test('DownloadTask makes a hard link when it must, and says when it cannot', async (t) => {
  const from = await origin(t, { length: mib })
  const local = await localPeer(t)
  const outputPath = join(local.folder, 'out')
  const told = await download(local, { url: from.url, outputPath, forceHardLink: true })
  assert.equal(told.error, undefined)
  assert.ok((await stat(outputPath)).nlink > 1)
  const other = await localPeer(t, { store: 'memory' })
  const path = join(other.folder, 'out')
  const refused = await download(other, { url: from.url, outputPath: path, forceHardLink: true })
  assert.equal(refused.error?.code, Code.FailedPrecondition)
  assert.ok(!existsSync(path))
})

test('DownloadTask from a memory store puts a copy at the path', async (t) => {
  const from = await origin(t, { length: 5 * mib })
  const local = await localPeer(t, { store: 'memory' })
  const outputPath = join(local.folder, 'out')
  assert.equal((await download(local, { url: from.url, outputPath })).error, undefined)
  await verifyFile(outputPath, from.content)
})

test('DownloadTask leaves nothing at the path when it fails before the first message', async (t) => {
  const from = await origin(t, { answer: () => ({ is: 'status', status: 404 }) })
  const local = await localPeer(t)
  const outputPath = join(local.folder, 'out')
  const told = await download(local, { url: from.url, outputPath })
  assert.equal(told.started, undefined)
  assert.ok(!existsSync(outputPath))
})

/** Content whose second piece waits for the gate. */
function gated(gate: Promise<void>): Source {
  return {
    scheme: 'demo',
    stat: async () => ({ length: 5 * mib, ranges: true, headers: {} }),
    async *read({ offset, length = 0 }) {
      if (offset > 0) await gate
      yield new Uint8Array(length)
    },
  }
}

test('DownloadTask holds the name with an empty file until the content is whole', async (t) => {
  const gate = deferred<void>()
  const local = await localPeer(t, { sources: [gated(gate.promise)] })
  const outputPath = join(local.folder, 'out')
  const sizes: number[] = []
  const call = download(local, { url: 'demo://host/a', outputPath }, ({ pieces }) => {
    if (pieces.length === 1) gate.resolve()
  })
  await waitFor(() => existsSync(outputPath))
  sizes.push((await stat(outputPath)).size)
  assert.equal((await call).error, undefined)
  sizes.push((await stat(outputPath)).size)
  assert.deepEqual(sizes, [0, 5 * mib])
})

test('DownloadTask leaves the empty file to the tool after a failure, and removes what the tool leaves', async (t) => {
  leaks(t)
  const gate = deferred<void>()
  const local = await localPeer(t, { sources: [gated(gate.promise)] })
  const outputPath = join(local.folder, 'out')
  const told = await download(local, { url: 'demo://host/a', outputPath }, ({ pieces }) => {
    if (pieces.length === 1) gate.reject(new Error('dry'))
  })
  assert.notEqual(told.error, undefined)
  assert.equal((await stat(outputPath)).size, 0)
  await local.peer.close()
  assert.ok(!existsSync(outputPath))
})

test('DownloadTask removes the empty file when the tool goes away', async (t) => {
  const gate = deferred<void>()
  const local = await localPeer(t, { sources: [gated(gate.promise)] })
  const outputPath = join(local.folder, 'out')
  const control = new AbortController()
  const wish = { url: 'demo://host/a', outputPath }
  await download(
    local,
    wish,
    ({ pieces }) => void (pieces.length === 1 && control.abort()),
    control.signal,
  )
  await waitFor(() => !existsSync(outputPath))
  gate.resolve()
})

test('DownloadTask does not replace what somebody else put at the path meanwhile', async (t) => {
  for (const overwrite of [false, true]) {
    const gate = deferred<void>()
    const local = await localPeer(t, { sources: [gated(gate.promise)] })
    const outputPath = join(local.folder, 'out')
    const call = download(local, { url: 'demo://host/a', outputPath, overwrite })
    await waitFor(() => existsSync(outputPath))
    await rm(outputPath)
    await writeFile(outputPath, 'mine')
    gate.resolve()
    const { error } = await call
    assert.equal(error?.code, overwrite ? undefined : Code.AlreadyExists)
    assert.equal((await stat(outputPath)).size, overwrite ? 5 * mib : 4)
  }
})
