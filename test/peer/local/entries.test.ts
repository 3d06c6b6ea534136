import assert from 'node:assert/strict'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { Code, ConnectError } from '@connectrpc/connect'
import { backendDetail } from '../../../src/rpc/backend-detail.ts'
import { listedEntriesMax } from '../../../src/source/listing.ts'
import type { Source, SourceEntry } from '../../../src/source/source.ts'
import { origin } from '../../support/origin.ts'
import { localPeer } from './local-peer.ts'

function listing(list: Source['list']): Source {
  return {
    scheme: 'demo',
    stat: async () => ({ length: 1, ranges: true, headers: { a: 'b' } }),
    async *read() {
      yield new Uint8Array(1)
    },
    ...(list === undefined ? {} : { list }),
  }
}

test('ListTaskEntries lists a folder of this machine, at every depth', async (t) => {
  const local = await localPeer(t)
  const top = join(local.folder, 'top')
  await mkdir(join(top, 'a b', 'deep'), { recursive: true })
  await writeFile(join(top, 'x'), 'x')
  await writeFile(join(top, 'a b', 'deep', 'ü%'), '12345')
  await symlink(join(top, 'x'), join(top, 'link'))
  await symlink(top, join(top, 'circle'))
  const url = pathToFileURL(`${top}/`).href
  const { entries } = await local.client.listTaskEntries({ taskId: 'any', url })
  const found = entries.map((entry) => [
    entry.url.slice(url.length),
    entry.contentLength,
    entry.isDir,
  ])
  assert.deepEqual(
    new Set(found.map(String)),
    new Set([
      'x,1,false',
      'link,1,false',
      'a%20b/,0,true',
      'a%20b/deep/,0,true',
      'a%20b/deep/%C3%BC%25,5,false',
    ]),
  )
})

test('ListTaskEntries asks a source that can list, with the headers of the request', async (t) => {
  const seen: Record<string, string>[] = []
  const source = listing(async function* ({ url, headers }) {
    seen.push({ ...headers, url: url.href })
    yield { url: `${url.href}one`, length: 3, isDirectory: false }
    yield { url: `${url.href}sub/`, length: 0, isDirectory: true }
  })
  const { client } = await localPeer(t, { sources: [source] })
  const requestHeader = { key: 'word' }
  const url = 'demo://host/dir/'
  const { entries } = await client.listTaskEntries({ url, requestHeader })
  assert.deepEqual(
    entries.map((entry) => [entry.url, entry.contentLength, entry.isDir]),
    [
      ['demo://host/dir/one', 3n, false],
      ['demo://host/dir/sub/', 0n, true],
    ],
  )
  assert.deepEqual(seen, [{ key: 'word', url }])
  const file = await client.listTaskEntries({ url: 'demo://host/file' })
  assert.equal(file.contentLength, 1n)
  assert.deepEqual(file.responseHeader, { a: 'b' })
  assert.deepEqual(file.entries, [])
})

test('ListTaskEntries takes no entry that leads out of the directory', async (t) => {
  const bad: readonly unknown[] = [
    { url: 'demo://host/dir/%2e%2e%2fx', length: 1, isDirectory: false },
    null,
  ]
  for (const entry of bad) {
    const source = listing(async function* () {
      yield entry as SourceEntry
    })
    const { client } = await localPeer(t, { sources: [source] })
    await assert.rejects(client.listTaskEntries({ url: 'demo://host/dir/' }), (error) => {
      assert.match(ConnectError.from(error).message, /list\(\) must give/, JSON.stringify(entry))
      return true
    })
  }
})

test('ListTaskEntries is bounded, and the source is let go', async (t) => {
  let ended = false
  const source = listing(async function* ({ url }) {
    try {
      for (let at = 0; ; at++) yield { url: `${url.href}${at}`, length: 1, isDirectory: false }
    } finally {
      ended = true
    }
  })
  const { client } = await localPeer(t, { sources: [source] })
  await assert.rejects(client.listTaskEntries({ url: 'demo://host/dir/' }), (error) => {
    assert.match(String(error), new RegExp(`more than ${listedEntriesMax}`))
    return ConnectError.from(error).code === Code.ResourceExhausted
  })
  assert.ok(ended)
})

test('ListTaskEntries says why there is no list', async (t) => {
  const from = await origin(t, { answer: () => ({ is: 'status', status: 404 }) })
  const broken = listing(async function* () {
    throw new Error('no way, secret-value')
  })
  const silent: Source = { ...listing(undefined), scheme: 'silent' }
  const local = await localPeer(t, { sources: [broken, silent] })
  const table: readonly (readonly [string, Code, RegExp])[] = [
    ['demo://host/dir/?key=secret-value', Code.Internal, /no way/],
    ['silent://host/dir/', Code.Unimplemented, /silent cannot list/],
    [from.urlOf('/dir/'), Code.Unimplemented, /http cannot list/],
    [from.urlOf('/file'), Code.Internal, /404/],
    [pathToFileURL(join(local.folder, 'missing/')).href, Code.Internal, /no such file/],
    ['nobody://x/', Code.InvalidArgument, /No source/],
    ['', Code.InvalidArgument, /not an absolute URL/],
  ]
  for (const [url, code, text] of table) {
    await assert.rejects(local.client.listTaskEntries({ url }), (error) => {
      const failure = ConnectError.from(error)
      assert.equal(failure.code, code, failure.message)
      assert.match(failure.message, text)
      assert.doesNotMatch(`${failure.message} ${JSON.stringify(backendDetail(failure))}`, /secret/)
      return true
    })
  }
  const objectStorage = { accessKeyId: 'secret-value' }
  await assert.rejects(
    local.client.listTaskEntries({ url: 'demo://host/dir/', objectStorage }),
    (error) =>
      ConnectError.from(error).code === Code.Unimplemented && !/secret/.test(String(error)),
  )
})
