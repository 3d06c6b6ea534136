import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { checkedEntry, entryUrlLengthMax } from '../../src/source/listing.ts'
import type { Source } from '../../src/source/source.ts'
import { Sources } from '../../src/source/sources.ts'

const directory = new URL('demo://user:word@host/dir/')

test('checkedEntry() takes what lies below the directory, at any depth', () => {
  const good = [
    { url: 'demo://host/dir/x', length: 1, isDirectory: false },
    { url: 'demo://host/dir/a/b%20c/%C3%BC', length: 0, isDirectory: false },
    { url: 'demo://host/dir/..x', length: 1, isDirectory: false },
    { url: 'demo://host/dir/x?key=word', length: 1, isDirectory: false },
    { url: 'demo://host/dir/sub/', length: 0, isDirectory: true },
  ]
  for (const entry of good) assert.deepEqual(checkedEntry(entry, directory), entry)
  // Written in another way: what is handed on is what was checked.
  const other = { url: 'demo://host/dir/a/../b', length: 1, isDirectory: false }
  assert.equal(checkedEntry(other, directory).url, 'demo://host/dir/b')
})

test('checkedEntry() refuses all else, and repeats no secret', () => {
  const file = { length: 1, isDirectory: false }
  const bad: readonly unknown[] = [
    { ...file, url: 'demo://host/other/x' },
    { ...file, url: 'demo://other/dir/x' },
    { ...file, url: 'file:///dir/x' },
    { ...file, url: 'demo://host/dir/../../etc/x' },
    { ...file, url: 'demo://host/dir/%2e%2e%2fx' },
    { ...file, url: 'demo://host/dir/a%2Fb' },
    { ...file, url: 'demo://host/dir/a//b' },
    { ...file, url: 'demo://host/dir/%00' },
    { ...file, url: 'demo://host/dir/%ff' },
    { ...file, url: 'demo://host/dir' },
    { ...file, url: 'relative' },
    { ...file, url: 5 },
    { ...file, url: `demo://host/dir/${'x'.repeat(entryUrlLengthMax)}` },
    { url: 'demo://host/dir/', length: 0, isDirectory: true },
    { url: 'demo://host/dir/x/', length: 1, isDirectory: false },
    { url: 'demo://host/dir/x', length: 0, isDirectory: true },
    { url: 'demo://host/dir/x', length: -1, isDirectory: false },
    { url: 'demo://host/dir/x', length: 0.5, isDirectory: false },
    { url: 'demo://host/dir/x', length: 1 },
    'x',
    null,
  ]
  for (const entry of bad) {
    assert.throws(
      () => checkedEntry(entry, directory),
      (error) => {
        assert.ok(PeerError.is(error, 'ORIGIN_PROTOCOL'), String(error))
        assert.doesNotMatch(`${error.message} ${JSON.stringify(error.details)}`, /word/)
        return true
      },
      JSON.stringify(entry),
    )
  }
})

const plain: Source = {
  scheme: 'demo',
  stat: async () => ({ length: 0, ranges: true, headers: {} }),
  async *read() {},
}

test('Sources refuses a source whose list is no function', () => {
  const list = 5 as unknown as NonNullable<Source['list']>
  assert.throws(
    () => new Sources([], [{ ...plain, list }]),
    /sources\[0\]\.list must be a function/,
  )
})

test('BoundOrigin.list() calls list() as a method, and says when there is none', async () => {
  class Library implements Source {
    readonly scheme = 'demo'
    readonly names = ['a', 'b']
    stat = plain.stat
    read = plain.read
    async *list({ url }: Parameters<NonNullable<Source['list']>>[0]) {
      for (const name of this.names) yield { url: url.href + name, length: 1, isDirectory: false }
    }
  }
  const { signal } = new AbortController()
  const spec = { url: 'demo://host/', headers: {} }
  const able = new Sources([], [new Library()]).bind(spec)
  assert.equal(able.lists, true)
  assert.deepEqual(
    (await able.list(signal)).map(({ url }) => url),
    ['demo://host/a', 'demo://host/b'],
  )
  const unable = new Sources([], [plain]).bind(spec)
  assert.equal(unable.lists, false)
  await assert.rejects(unable.list(signal), /cannot list/)
})

test('BoundOrigin.list() ends with its signal, whatever the source does', async () => {
  let returned = false
  const stuck: Source = {
    ...plain,
    list: () => ({
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise(() => undefined),
        return: async () => {
          returned = true
          return { done: true, value: undefined }
        },
      }),
    }),
  }
  const control = new AbortController()
  const origin = new Sources([], [stuck]).bind({ url: 'demo://host/', headers: {} })
  const listed = origin.list(control.signal)
  control.abort(new Error('enough'))
  await assert.rejects(listed, /enough/)
  assert.ok(returned)
})
