import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { pathToFileURL } from 'node:url'
import type { Peer, PeerOptions, Source } from '../../src/index.ts'
import { contentBytes } from '../e2e/support/swarm.ts'
import { Content } from '../support/content.ts'
import { origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyFile } from '../support/verify.ts'
import { eventually } from './support/eventually.ts'
import { taskIdOf } from './support/fetch.ts'
import { bytesFrom, heard } from './support/hooks.ts'
import { matrixTest } from './support/matrix.ts'
import { sharedSite } from './support/site.ts'
import { dfget } from './support/tool.ts'

/** Nine pieces of 4 MiB and a short one. */
const length = 9 * (4 << 20) + 123_457
const zeros = '0'.repeat(64)

const site = sharedSite({ daemons: 1 })

/** A peer of ours on the real scheduler, with a socket. */
async function withSocket(
  t: TestContext,
  options: PeerOptions = {},
): Promise<{ readonly peer: Peer; readonly socketPath: string }> {
  const socketPath = join(tempFolder(t), 'p.sock')
  return { peer: await site().peer(t, { socketPath, ...options }), socketPath }
}

/** Runs in a peer. */
function runs(peer: Peer): number {
  return (peer.explain() as { tasks: unknown[] }).tasks.length
}

matrixTest(6, 'dfget on our socket, content from the origin', async (t, facts) => {
  const served = await origin(t, { length, seed: 601 })
  const { peer, socketPath } = await withSocket(t)
  const output = site().path('out')
  await facts.time(() => dfget(t, socketPath, served.url, { output }).done())
  await verifyFile(output, served.content)
  const again = site().path('again')
  await dfget(t, socketPath, served.url, { output: again }).done()
  await verifyFile(again, served.content)
  assert.equal(contentBytes(served), length)
  assert.equal(runs(peer), 0)
  facts.origin(served)
})

matrixTest(6, 'dfget on our socket, content from a real daemon', async (t, facts) => {
  const served = await origin(t, { length, seed: 602 })
  const daemon = site().daemon(0)
  await dfget(t, daemon.socketPath, served.url, { output: site().path('first') }).done()
  const kept = heard(t, 'dragonfly-peer:piece:kept')
  const { socketPath } = await withSocket(t)
  const output = site().path('out')
  await facts.time(() => dfget(t, socketPath, served.url, { output, backToSource: false }).done())
  await verifyFile(output, served.content)
  assert.equal(bytesFrom(kept, taskIdOf(served.url), daemon.hostId), length)
  assert.equal(contentBytes(served), length)
  facts.origin(served)
  facts.traffic('ours', { source: 0, peers: length, local: 0 })
})

matrixTest(6, 'two dfget at once on our socket', async (t, facts) => {
  const served = await origin(t, { length, seed: 603 })
  const { socketPath } = await withSocket(t)
  const outputs = [site().path('one'), site().path('two')]
  await facts.time(() =>
    Promise.all(outputs.map((output) => dfget(t, socketPath, served.url, { output }).done())),
  )
  for (const output of outputs) await verifyFile(output, served.content)
  assert.equal(contentBytes(served), length)
  facts.origin(served)
})

for (const [how, args] of [
  ['to a path', []],
  ['through the socket', ['--transfer-from-dfdaemon']],
] as const) {
  matrixTest(6, `dfget ${how}, digest right and wrong`, async (t, facts) => {
    const served = await origin(t, { length, seed: 604 + args.length })
    const { socketPath } = await withSocket(t)
    const output = site().path('out')
    const digest = (value: string): string[] => [...args, '--digest', `sha256:${value}`]
    const wrong = await dfget(t, socketPath, served.url, { output, args: digest(zeros) }).result()
    assert.equal(wrong.code, 1)
    assert.match(wrong.output, /does not have the expected digest/)
    assert.ok(!existsSync(output))
    const right = digest(served.content.sha256())
    await facts.time(() => dfget(t, socketPath, served.url, { output, args: right }).done())
    await verifyFile(output, served.content)
    // What does not have the digest that was promised for it is not kept.
    assert.equal(contentBytes(served), 2 * length)
    facts.origin(served)
  })

  matrixTest(6, `dfget ${how} prints what the origin answered`, async (t, facts) => {
    const missing = await origin(t, { answer: () => ({ is: 'status', status: 404 }) })
    const { socketPath } = await withSocket(t)
    const output = site().path('out')
    const result = await dfget(t, socketPath, missing.url, { output, args }).result()
    assert.equal(result.code, 1)
    assert.match(result.output, /Bad Status Code:\S* 404/)
    assert.match(result.output, /The origin answered 404/)
    assert.ok(!existsSync(output))
    facts.took(result.tookMs)
  })

  matrixTest(6, `dfget ${how} prints why it failed in the middle`, async (t, facts) => {
    const served = await origin(t, {
      length,
      seed: 608,
      answer: ({ kind, range }) =>
        kind === 'stat' || range?.offset === 0 ? undefined : { is: 'status', status: 403 },
    })
    const { socketPath } = await withSocket(t)
    const output = site().path('out')
    const result = await dfget(t, socketPath, served.url, { output, args }).result()
    assert.equal(result.code, 1)
    assert.match(result.output, /Bad Status Code:\S* 403/)
    assert.doesNotMatch(result.output, /No such file/)
    assert.ok(!existsSync(output))
    facts.took(result.tookMs)
  })

  matrixTest(6, `dfget ${how} over a file that is there`, async (t, facts) => {
    const served = await origin(t, { length, seed: 609 })
    const missing = await origin(t, { answer: () => ({ is: 'status', status: 404 }) })
    const { socketPath } = await withSocket(t)
    const output = site().path('out')
    await writeFile(output, 'mine')
    const refused = await dfget(t, socketPath, served.url, { output, args }).result()
    assert.equal(refused.code, 1)
    assert.match(refused.output, /already exist/)
    const over = [...args, '--overwrite']
    const failed = await dfget(t, socketPath, missing.url, { output, args: over }).result()
    assert.match(failed.output, /404/)
    // Nothing had come yet, so the file that was there is not lost.
    assert.equal(await readFile(output, 'utf8'), 'mine')
    await facts.time(() => dfget(t, socketPath, served.url, { output, args: over }).done())
    await verifyFile(output, served.content)
    facts.origin(served)
  })
}

matrixTest(6, 'dfget with a Range header, to a path: exactly the range', async (t, facts) => {
  const served = await origin(t, { length, seed: 610 })
  const { socketPath } = await withSocket(t)
  const output = site().path('out')
  const args = ['--header', 'Range: bytes=5000000-5000099']
  await facts.time(() => dfget(t, socketPath, served.url, { output, args }).done())
  await verifyFile(output, served.content, 5_000_000, 100)
  assert.equal(contentBytes(served), 4 << 20)
  facts.origin(served)
})

matrixTest(6, 'dfget --force-hard-link', async (t, facts) => {
  const served = await origin(t, { length, seed: 611 })
  const { socketPath } = await withSocket(t)
  const output = site().path('out')
  const args = ['--force-hard-link']
  await facts.time(() => dfget(t, socketPath, served.url, { output, args }).done())
  await verifyFile(output, served.content)
  assert.ok((await stat(output)).nlink > 1)
  facts.origin(served)
})

matrixTest(6, 'dfget that is killed in the middle', async (t, facts) => {
  const served = await origin(t, { length, seed: 612, bytesPerSecond: 2_000_000 })
  const { peer, socketPath } = await withSocket(t)
  const output = site().path('out')
  const running = dfget(t, socketPath, served.url, { output })
  await served.until((each) => contentBytes(each) > 4 << 20)
  await running.program.kill()
  await facts.time(() => eventually('the run ends', () => runs(peer) === 0))
  await eventually('nothing is left', () => !existsSync(output))
  assert.ok(contentBytes(served) < length)
  facts.origin(served)
})

matrixTest(6, 'dfget of a folder of this machine', async (t, facts) => {
  const from = tempFolder(t)
  await mkdir(join(from, 'a', 'b c'), { recursive: true })
  await writeFile(join(from, 'one'), 'one')
  await writeFile(join(from, 'a', 'b c', 'two 2'), 'two')
  await writeFile(join(from, 'a', 'none'), '')
  const { socketPath } = await withSocket(t)
  const output = tempFolder(t)
  const url = pathToFileURL(`${from}/`).href
  await facts.time(() => dfget(t, socketPath, url, { output }).done())
  assert.equal(await readFile(join(output, 'one'), 'utf8'), 'one')
  assert.equal(await readFile(join(output, 'a', 'b c', 'two 2'), 'utf8'), 'two')
  assert.equal(await readFile(join(output, 'a', 'none'), 'utf8'), '')
})

/** Twelve files below `demo://host/models/`. */
function library(): { readonly source: Source; readonly contents: ReadonlyMap<string, Content> } {
  const names = Array.from({ length: 12 }, (_, at) => `${at < 6 ? '' : 'sub/'}part-${at}.bin`)
  const contents = new Map(names.map((name, at) => [name, new Content(at * 1_000_003, at + 1)]))
  const of = ({ pathname }: URL): Content =>
    contents.get(pathname.slice('/models/'.length)) ?? assert.fail(pathname)
  const source: Source = {
    scheme: 'demo',
    stat: async ({ url }) => ({ length: of(url).length, ranges: true, headers: {} }),
    read: async function* ({ url, offset, length: wanted }) {
      yield* of(url).chunks(offset, wanted)
    },
    list: async function* ({ url }) {
      for (const [name, content] of contents) {
        yield { url: url.href + name, length: content.length, isDirectory: false }
      }
    },
  }
  return { source, contents }
}

for (const args of [[], ['--transfer-from-dfdaemon']]) {
  matrixTest(6, `dfget ${['-r', ...args].join(' ')} of a source of our own`, async (t, facts) => {
    const { source, contents } = library()
    const { socketPath } = await withSocket(t, { sources: [source] })
    const output = tempFolder(t)
    const url = 'demo://host/models'
    const all = ['-r', ...args]
    await facts.time(() => dfget(t, socketPath, url, { output, args: all }).done())
    for (const [name, content] of contents) await verifyFile(join(output, name), content)
    const part = tempFolder(t)
    const some = [...all, '--include-files', 'sub/part-7.bin']
    await dfget(t, socketPath, url, { output: part, args: some }).done()
    await verifyFile(join(part, 'sub/part-7.bin'), contents.get('sub/part-7.bin') ?? assert.fail())
    assert.ok(!existsSync(join(part, 'part-0.bin')))
    facts.note(`${contents.size} files`)
  })
}

matrixTest(6, 'dfget of a folder that cannot be listed says so', async (t) => {
  const { source } = library()
  const { list: _, ...rest } = source
  const { socketPath } = await withSocket(t, { sources: [rest] })
  const output = tempFolder(t)
  const result = await dfget(t, socketPath, 'demo://host/models/', { output }).result()
  assert.equal(result.code, 1)
  assert.match(result.output, /cannot list/)
})
