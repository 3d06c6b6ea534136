import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  appendFile,
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { file, fileChunkBytes } from '../../src/source/file.ts'
import { Sources } from '../../src/source/sources.ts'
import type { Origin } from '../../src/task/ports.ts'
import { firstChunk, patterned, readAll, rejection } from './reading.ts'

describe('file()', () => {
  const sources = new Sources([file()])
  const content = patterned(3 * fileChunkBytes)
  const signal = new AbortController().signal
  let folder: string

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'file-source-'))
  })

  after(() => rm(folder, { recursive: true }))

  const at = (path: string): Origin =>
    sources.bind({ url: pathToFileURL(join(folder, path)).href, headers: {} })

  async function put(name: string, bytes: Uint8Array = content): Promise<Origin> {
    await writeFile(join(folder, name), bytes)
    return at(name)
  }

  test('file.read() reuses one buffer of bounded size', async () => {
    const origin = await put('reused')
    const buffers = new Set<ArrayBufferLike>()
    for await (const chunk of origin.read({ offset: 0 }, signal)) {
      assert.ok(chunk.length <= fileChunkBytes)
      buffers.add(chunk.buffer)
    }
    assert.equal(buffers.size, 1)
  })

  test('file.read() takes names with spaces, signs and letters, and follows links', async () => {
    const origin = await put('a b#c?d%ü')
    assert.equal((await readAll(origin)).length, content.length)
    await symlink(join(folder, 'a b#c?d%ü'), join(folder, 'link'))
    assert.equal((await at('link').stat(signal)).length, content.length)
  })

  test('file.stat() has the same validator for the same file only', async () => {
    const origin = await put('versions')
    const first = await origin.stat(signal)
    assert.deepEqual(await origin.stat(signal), first)
    const seen = new Set([first.validator])
    await utimes(join(folder, 'versions'), 1000, 1000)
    seen.add((await origin.stat(signal)).validator)
    await put('versions.new', content)
    await rename(join(folder, 'versions.new'), join(folder, 'versions'))
    seen.add((await origin.stat(signal)).validator)
    assert.equal(seen.size, 3)
  })

  const changes: [what: string, change: (path: string) => Promise<void>][] = [
    ['grows', (path) => appendFile(path, 'more')],
    ['shrinks', (path) => truncate(path, fileChunkBytes + 10)],
    ['is touched', (path) => utimes(path, 1000, 1000)],
    [
      'is replaced',
      async (path) => {
        await writeFile(`${path}.new`, content)
        await rename(`${path}.new`, path)
      },
    ],
  ]
  for (const [what, change] of changes) {
    test(`file.read() fails with ORIGIN_CHANGED when the file ${what} meanwhile`, async () => {
      const name = `changes ${what}`
      const origin = await put(name)
      let chunks = 0
      const reading = async (): Promise<void> => {
        for await (const chunk of origin.read({ offset: 0 }, signal)) {
          assert.ok(chunk.length > 0)
          if (++chunks === 1) await change(join(folder, name))
        }
      }
      const error = await rejection(reading(), 'ORIGIN_CHANGED')
      assert.equal(error.details.what, 'file')
      assert.equal(chunks, 1)
    })
  }

  test('file.stat() and file.read() refuse what is no regular file, without opening it', async () => {
    await mkdir(join(folder, 'folder'))
    execFileSync('mkfifo', [join(folder, 'pipe')])
    for (const [origin, actual] of [
      [at('folder'), 'a folder'],
      [at('pipe'), 'a special file'],
      [sources.bind({ url: 'file:///dev/zero', headers: {} }), 'a special file'],
    ] as const) {
      const stat = await rejection(origin.stat(signal), 'ORIGIN_PROTOCOL')
      const read = await rejection(readAll(origin), 'ORIGIN_PROTOCOL')
      assert.deepEqual([stat.details.actual, read.details.actual], [actual, actual])
    }
  })

  test('file.stat() and file.read() tell apart what is missing and what is forbidden', async () => {
    await put('plain')
    for (const origin of [at('missing'), at('plain/below')]) {
      await rejection(origin.stat(signal), 'ORIGIN_NOT_FOUND')
      await rejection(readAll(origin), 'ORIGIN_NOT_FOUND')
    }
    const closed = await put('closed')
    await chmod(join(folder, 'closed'), 0)
    // For root nothing is forbidden.
    if (process.getuid?.() === 0) assert.equal((await readAll(closed)).length, content.length)
    else await rejection(readAll(closed), 'ORIGIN_FORBIDDEN')
    await symlink('circle', join(folder, 'circle'))
    const circle = await rejection(at('circle').stat(signal), 'ORIGIN_UNREACHABLE')
    assert.equal(circle.details.reason, 'ELOOP')
  })

  test('file.stat() refuses URLs that name no file of this machine', async () => {
    for (const url of ['file://host/a', 'file:///a%2Fb', 'file:///a%00b']) {
      await rejection(sources.bind({ url, headers: {} }).stat(signal), 'INVALID_URL')
      await rejection(readAll(sources.bind({ url, headers: {} })), 'INVALID_URL')
    }
  })

  test('file.read() leaves no file open, whether read to the end, left or cancelled', async () => {
    const origin = await put('closing')
    await readAll(origin)
    await firstChunk(origin)
    const controller = new AbortController()
    const chunks = origin.read({ offset: 0 }, controller.signal)[Symbol.asyncIterator]()
    await chunks.next()
    controller.abort()
    await assert.rejects(chunks.next(), { name: 'AbortError' })
    // Where the system does not tell (it is Linux that does) the test runner's check for what is left open remains.
    const names = await readdir('/proc/self/fd').catch(() => [])
    const links = await Promise.all(
      names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')),
    )
    assert.ok(!links.some((link) => link.endsWith('closing')))
  })
})
