import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, type TestContext } from 'node:test'
import { createClient } from '@connectrpc/connect'
import { contentTaskId, PersistentCacheTaskId } from '../../src/hash/task-id.ts'
import { Peer } from '../../src/index.ts'
import { openChannel } from '../../src/rpc/channel.ts'
import type { PersistentCacheTask } from '../../src/rpc/gen/common/v2/common_pb.ts'
import { DfdaemonDownload } from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyFile } from '../support/verify.ts'
import { DaemonProgram } from './support/daemon-program.ts'
import { eventually } from './support/eventually.ts'
import { fileEnding } from './support/file-ending.ts'
import { matrixTest } from './support/matrix.ts'
import { RedisProgram } from './support/redis-program.ts'
import { Site } from './support/site.ts'
import { dfcache, dfctl } from './support/tool.ts'

/** Nine pieces of 4 MiB and a short one. */
const length = 9 * (4 << 20) + 123_457

/** Somewhere that tools talk to: a real daemon, or a peer of ours. */
interface Place {
  readonly name: string
  readonly socketPath: string
}

interface Network {
  readonly name: string
  /** Copies that put one on every host: on the daemons, on the peer of the test, and on the peer that schedules. */
  readonly hosts: number
  /** Two of them. */
  readonly daemons: readonly DaemonProgram[]
  readonly scheduler: () => string
}

const ending = fileEnding()
const networks = new Map<string, Network>()

before(async () => {
  const redis = await RedisProgram.start(ending)
  const site = await Site.start(ending, { scheduler: { redis: redis.address }, daemons: 2 })
  const { daemons, scheduler } = site
  networks.set('real', { name: 'real', hosts: 3, daemons, scheduler: () => scheduler.address })
  const scheduling = await Peer.start({ store: { dir: tempFolder(ending) } })
  cleanup(ending, () => scheduling.destroy())
  const { schedulerAddress } = scheduling
  const started = [1, 2].map(async () =>
    DaemonProgram.start(ending, { schedulers: [schedulerAddress] }),
  )
  networks.set('embedded', {
    name: 'embedded',
    hosts: 4,
    daemons: await Promise.all(started),
    scheduler: () => schedulerAddress,
  })
})

function network(name: string): Network {
  return networks.get(name) ?? assert.fail(name)
}

async function ours(t: TestContext, net: Network): Promise<Place> {
  const folder = tempFolder(t)
  const socketPath = join(folder, 'p.sock')
  const store = { dir: join(folder, 'store') }
  const peer = await Peer.start({ scheduler: net.scheduler(), socketPath, store })
  cleanup(t, () => peer.destroy())
  return { name: 'ours', socketPath }
}

function real(net: Network): Place {
  const [daemon] = net.daemons
  return { name: 'real', socketPath: daemon?.socketPath ?? assert.fail() }
}

/** Imports content at a place and gives its id: the tool shows it to terminals only. */
async function imported(
  t: TestContext,
  place: Place,
  content: Content,
  args: readonly string[] = [],
): Promise<string> {
  const folder = tempFolder(t)
  const path = join(folder, 'in')
  await writeFile(path, content.bytes())
  await dfcache(t, place.socketPath, ['import', path, '--no-progress', ...args], folder).done()
  return new PersistentCacheTaskId().update(content.bytes()).id()
}

async function exported(
  t: TestContext,
  place: Place,
  id: string,
  args: readonly string[] = [],
): Promise<{ readonly path: string; readonly code: number | null; readonly output: string }> {
  const folder = tempFolder(t)
  const path = join(folder, 'out')
  const all = ['export', id, '-O', path, '--no-progress', ...args]
  return { path, ...(await dfcache(t, place.socketPath, all, folder).result()) }
}

async function statAt(t: TestContext, place: Place, id: string): Promise<PersistentCacheTask> {
  const channel = openChannel({ address: `unix:${place.socketPath}` })
  cleanup(t, () => channel.close())
  return createClient(DfdaemonDownload, channel).statPersistentCacheTask({ taskId: id })
}

/** Exports in both ways and compares. */
async function verifyExports(
  t: TestContext,
  place: Place,
  id: string,
  content: Content,
): Promise<void> {
  for (const args of [[], ['--transfer-from-dfdaemon']]) {
    const digest = ['--digest', `sha256:${content.sha256()}`]
    const { code, output, path } = await exported(t, place, id, [...args, ...digest])
    assert.equal(code, 0, output)
    await verifyFile(path, content)
  }
}

let seed = 700

for (const name of ['real', 'embedded']) {
  matrixTest(
    7,
    `${name} scheduler: imported here, exported by a real daemon and here`,
    async (t, facts) => {
      const net = network(name)
      const place = await ours(t, net)
      const content = new Content(length, seed++)
      const id = await imported(t, place, content, ['--persistent-replica-count', '1'])
      await facts.time(() => verifyExports(t, real(net), id, content))
      await verifyExports(t, place, id, content)
    },
  )

  matrixTest(7, `${name} scheduler: imported by a real daemon, exported here`, async (t, facts) => {
    const net = network(name)
    const place = await ours(t, net)
    const content = new Content(length, seed++)
    const id = await imported(t, real(net), content, ['--persistent-replica-count', '1'])
    await facts.time(() => verifyExports(t, place, id, content))
    // And from here to another one of ours.
    await verifyExports(t, await ours(t, net), id, content)
  })

  matrixTest(7, `${name} scheduler: stat, time to live, a second import`, async (t) => {
    const net = network(name)
    const place = await ours(t, net)
    const content = new Content(length, seed++)
    const args = ['--ttl', '10m', '--persistent-replica-count', '1']
    const id = await imported(t, place, content, args)
    for (const each of [place, real(net)]) {
      const { output } = await dfcache(t, each.socketPath, ['stat', id], tempFolder(t)).done()
      assert.match(output, new RegExp(id))
      assert.match(output, /Succeeded/)
      assert.match(output, /36\.1 MiB/)
      assert.match(output, /\b(10m|9m 59s)\b/)
    }
    assert.equal(await imported(t, place, content, args), id)
    await verifyExports(t, place, id, content)
  })

  matrixTest(
    7,
    `${name} scheduler: copies of what was imported here, at real daemons`,
    async (t, facts) => {
      const net = network(name)
      const place = await ours(t, net)
      const content = new Content(length, seed++)
      const id = await imported(t, place, content, [
        '--persistent-replica-count',
        String(net.hosts),
      ])
      await facts.time(() =>
        eventually('all copies', async () => {
          const { currentPersistentReplicaCount: count } = await statAt(t, place, id)
          return count === BigInt(net.hosts)
        }),
      )
      for (const { socketPath, folder } of net.daemons) {
        const list = ['persistent-cache-task', 'ls', '-e', socketPath]
        assert.match((await dfctl(t, list, folder).done()).output, new RegExp(id))
      }
    },
  )

  matrixTest(
    7,
    `${name} scheduler: a copy here of what a real daemon imported`,
    async (t, facts) => {
      const net = network(name)
      const place = await ours(t, net)
      const content = new Content(length, seed++)
      const id = await imported(t, real(net), content, [
        '--persistent-replica-count',
        String(net.hosts),
      ])
      const list = ['persistent-cache-task', 'ls', '-e', place.socketPath]
      await facts.time(() =>
        eventually(
          'the copy is here',
          async () => {
            const { output } = await dfctl(t, list, tempFolder(t)).done()
            const line = output.split('\n').find((each) => each.includes(id))
            return line !== undefined && / true .*20\d\d-.* 20\d\d-/.test(line)
          },
          { everyMs: 500 },
        ),
      )
      await verifyExports(t, place, id, content)
    },
  )

  matrixTest(7, `${name} scheduler: what goes wrong is said`, async (t) => {
    const place = await ours(t, network(name))
    const content = new Content(1000, seed++)
    const id = await imported(t, place, content, ['--persistent-replica-count', '1'])
    const digest = ['--digest', `sha256:${'0'.repeat(64)}`]
    const wrong = await exported(t, place, id, digest)
    assert.equal(wrong.code, 1)
    assert.match(wrong.output, /does not have the expected digest/)
    assert.ok(!existsSync(wrong.path))
    const unknown = await exported(t, place, 'f'.repeat(64))
    assert.match(unknown.output, /Nobody in the network knows this task/)
    const stat = await dfcache(
      t,
      place.socketPath,
      ['stat', 'f'.repeat(64)],
      tempFolder(t),
    ).result()
    assert.match(stat.output, /task not found/)
  })
}

matrixTest(7, 'an import that is named by a text', async (t) => {
  const net = network('real')
  const place = await ours(t, net)
  const content = new Content(length, seed++)
  const args = [
    '--content-for-calculating-task-id',
    `text ${seed}`,
    '--persistent-replica-count',
    '1',
  ]
  await imported(t, place, content, args)
  await verifyExports(t, real(net), contentTaskId(`text ${seed}`), content)
})
