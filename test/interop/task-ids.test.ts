import assert from 'node:assert/strict'
import { createClient } from '@connectrpc/connect'
import { defaultFilteredQueryParams } from '../../src/hash/task-url.ts'
import type { DownloadOptions } from '../../src/index.ts'
import { openChannel } from '../../src/rpc/channel.ts'
import { DfdaemonDownload } from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { origin } from '../support/origin.ts'
import type { DaemonProgram } from './support/daemon-program.ts'
import { taskIdOf } from './support/fetch.ts'
import { matrixTest } from './support/matrix.ts'
import { sharedSite } from './support/site.ts'
import { dfget } from './support/tool.ts'

interface Case {
  readonly name: string
  /** Behind `http://127.0.0.1:port`, or a whole URL. */
  readonly url: string
  readonly options?: DownloadOptions
}

/** A served URL each. Those that begin alike differ in one thing, which has to count or not to count on both sides. */
const served: readonly Case[] = [
  { name: 'a plain path', url: '/file.bin' },
  { name: 'a tag', url: '/file.bin', options: { tag: 'nightly' } },
  { name: 'an application', url: '/file.bin', options: { application: 'trainer' } },
  { name: 'both', url: '/file.bin', options: { tag: 'ünï', application: 'trainer' } },
  { name: 'a piece length', url: '/file.bin', options: { pieceLength: 4 << 20 } },
  {
    name: 'all of them',
    url: '/file.bin',
    options: { tag: 'nightly', application: 'trainer', pieceLength: 16 << 20 },
  },
  {
    name: 'headers and priority, which do not count',
    url: '/file.bin',
    options: { headers: { 'x-token': 'a' }, priority: 3 },
  },
  { name: 'a query with its order and duplicates', url: '/file.bin?b=1&b=2&a=3' },
  { name: 'a parameter without a value', url: '/file.bin?flag&k=v' },
  { name: 'empty pairs and empty names', url: '/file.bin?a=1&&b=2&=x&' },
  { name: 'a lone question mark', url: '/file.bin?' },
  { name: 'signs in a query', url: "/file.bin?k=a+b%20c~*-._!'();:@,$" },
  { name: 'letters of the world in a query', url: '/file.bin?name=ö&say=你好&icon=😀' },
  { name: 'broken escapes in a query', url: '/file.bin?k=%zz%4&b=%FF%e4%bd' },
  {
    name: 'the signature of an object store, which does not count',
    url: '/file.bin?X-Amz-Signature=abc&versionId=7&X-Amz-Date=20260101T000000Z',
  },
  { name: 'nothing but a signature', url: '/file.bin?Signature=x%2By&Expires=5&OSSAccessKeyId=k' },
  {
    name: 'a filter of the user, in place of the usual ones',
    url: '/file.bin?session=9&ns=docker.io',
    options: { filteredQueryParams: ['session'] },
  },
  {
    name: 'a filter with another case',
    url: '/file.bin?Token=1&token=2',
    options: { filteredQueryParams: ['token'] },
  },
  {
    name: 'a filter for an encoded name',
    url: '/file.bin?na%20me=1&na+me=2&x=3',
    options: { filteredQueryParams: ['na me', 'absent'] },
  },
  { name: 'no path', url: '' },
  { name: 'a bare slash', url: '/' },
  { name: 'a bare slash with a query', url: '/?a=1' },
  { name: 'a closing slash', url: '/folder/' },
  { name: 'double slashes', url: '//a//b//' },
  { name: 'dots in a path', url: '/a/./b/../c/%2e%2E/d' },
  { name: 'escapes in a path', url: '/%7Euser/%e4%bd%a0/a%2Fb' },
  { name: 'letters of the world in a path', url: '/módulo/模型.bin' },
  { name: 'signs in a path', url: '/a b"c\'d|e[f]g^h`i{j}<k>' },
  { name: 'backslashes', url: '\\a\\b' },
  { name: 'a fragment', url: '/file.bin#part "1"' },
  { name: 'a fragment that ends in slashes, on a bare slash', url: '/#part//' },
]

/** Nobody answers there; the daemon names the task before it finds that out. */
const unreachable: readonly Case[] = [
  { name: 'the default port of http', url: 'http://127.0.0.1:80/file.bin' },
  { name: 'the default port of https', url: 'HTTPS://Files.EXAMPLE.invalid:443/File.bin' },
  { name: 'a host with letters of the world', url: 'http://bücher.invalid/straße' },
  { name: 'an address written otherwise', url: 'http://0x7f.1:1/file.bin' },
  { name: 'an IPv6 address', url: 'http://[0:0::1]:1/file.bin' },
  { name: 'a user and a password', url: 'http://us%65r:p@ss@127.0.0.1:1/file.bin' },
]

const shared = sharedSite({ daemons: 1 })

matrixTest(12, `task ids of ${served.length} URLs that are served`, async (t, facts) => {
  const daemon = shared().daemon(0)
  const peer = await shared().peer(t)
  const content = await origin(t, { length: 1000, seed: 12 })
  const ids = new Set<string>()
  for (const { name, url, options = {} } of served) {
    const whole = content.urlOf(url)
    const theirs = await idByDaemon(daemon, whole, options, (output, args) =>
      // A closing slash means a folder to dfget; others who use the socket, such as proxies, mean what they say.
      new URL(whole).pathname.endsWith('/')
        ? downloadTask(daemon, whole, options)
        : dfget(t, daemon.socketPath, whole, { output, args }).done(),
    )
    const ours = await peer.download(whole, options).done
    assert.equal(ours.id, theirs, `${name}: ${whole}`)
    assert.equal(ours.id, taskIdOf(whole, options), name)
    ids.add(ours.id)
  }
  // '/file.bin' is one task in all forms that differ only in what does not count; the bare slash is another such pair.
  assert.equal(ids.size, served.length - 4)
  facts.origin(content)
  facts.note(`${ids.size} different tasks`)
})

matrixTest(12, `task ids of ${unreachable.length} URLs that nobody serves`, async (t, facts) => {
  const daemon = shared().daemon(0)
  for (const { name, url, options = {} } of unreachable) {
    const theirs = await idByDaemon(daemon, url, options, (output, args) =>
      dfget(t, daemon.socketPath, url, { output, args }).result(),
    )
    assert.equal(taskIdOf(url, options), theirs, `${name}: ${url}`)
  }
  facts.note('by the log of the daemon')
})

/** The id that the daemon gives to what `dfget` orders, by its log. */
async function idByDaemon(
  daemon: DaemonProgram,
  url: string,
  options: DownloadOptions,
  order: (output: string, args: readonly string[]) => Promise<unknown>,
): Promise<string> {
  const before = startedTasks(daemon).length
  await order(shared().path('output'), argumentsOf(options))
  const started = await daemon.program.until('names the task', () => {
    const all = startedTasks(daemon)
    return all.length > before && all
  })
  assert.equal(started.length, before + 1, url)
  return started.at(-1) ?? ''
}

/** Tasks that tools ordered from a daemon since its start, in order. */
function startedTasks(daemon: DaemonProgram): string[] {
  const line = /download task started: .* task_id="([0-9a-f]{64})"/g
  return [...daemon.program.log().matchAll(line)].map(([, id = '']) => id)
}

/** DownloadTask over the socket of a daemon, without an output. */
async function downloadTask(
  daemon: DaemonProgram,
  url: string,
  options: DownloadOptions,
): Promise<void> {
  const { tag = '', application = '', filteredQueryParams = defaultFilteredQueryParams } = options
  const channel = openChannel({ address: `unix:${daemon.socketPath}` })
  try {
    const download = { url, tag, application, filteredQueryParams: [...filteredQueryParams] }
    const answers = createClient(DfdaemonDownload, channel).downloadTask({ download })
    for await (const _ of answers) continue
  } finally {
    channel.close()
  }
}

/** Our options in the words of `dfget`. */
function argumentsOf(options: DownloadOptions): string[] {
  const { tag, application, pieceLength, filteredQueryParams, headers, priority } = options
  const args: string[] = []
  if (tag !== undefined) args.push('--tag', tag)
  if (application !== undefined) args.push('--application', application)
  if (pieceLength !== undefined) args.push('--piece-length', `${pieceLength >> 20}mib`)
  if (priority !== undefined) args.push('--priority', String(priority))
  for (const [name, value] of Object.entries(headers ?? {})) args.push('-H', `${name}: ${value}`)
  // Without any dfget sends its own list; ours has to be the same one, which the signed URLs show.
  for (const name of filteredQueryParams ?? []) args.push('--filtered-query-param', name)
  return args
}
