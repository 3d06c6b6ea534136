import assert from 'node:assert/strict'
import { access, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect'
import type { TlsOptions } from '../../src/peer/options.ts'
import { openChannel } from '../../src/rpc/channel.ts'
import { DfdaemonUpload } from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { certificates } from '../rpc/certificates.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { startPeer } from './start-peer.ts'

const mib = 1024 * 1024

/** What a call may name: a path to write to, a file to read, what is kept, and an origin. */
interface Prey {
  readonly output: string
  readonly secret: string
  readonly url: string
  readonly download: string
  readonly written: string
}

type Upload = Client<typeof DfdaemonUpload>
type Call = (client: Upload, prey: Prey) => Promise<unknown>

async function all(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream) continue
}

/** Everything that would write to a path, replace a file, read a file of this machine or delete. */
const outputs: Readonly<Record<string, Call>> = {
  'DownloadTask with an output path': (client, { url, output: outputPath }) =>
    all(client.downloadTask({ download: { url, outputPath } })),
  'DownloadTask with an output path and overwrite': (client, { url, secret: outputPath }) =>
    all(client.downloadTask({ download: { url, outputPath, overwrite: true } })),
  'DownloadTask with an output path and a hard link': (client, { url, output: outputPath }) =>
    all(client.downloadTask({ download: { url, outputPath, forceHardLink: true } })),
  'DownloadPersistentCacheTask with an output path': (client, { written, output: outputPath }) =>
    all(client.downloadPersistentCacheTask({ taskId: written, outputPath })),
  'DownloadPersistentCacheTask with an output path and overwrite': (client, prey) =>
    all(
      client.downloadPersistentCacheTask({
        taskId: prey.written,
        outputPath: prey.secret,
        overwrite: true,
      }),
    ),
}
const files: Readonly<Record<string, Call>> = {
  'DownloadTask of a file URL': (client, { secret }) =>
    all(client.downloadTask({ download: { url: pathToFileURL(secret).href } })),
  'DownloadTask of a file URL in capitals': (client, { secret }) =>
    all(client.downloadTask({ download: { url: `FILE://${secret}` } })),
}
const deletes: Readonly<Record<string, Call>> = {
  DeleteTask: (client, { download: taskId }) => client.deleteTask({ taskId }),
  DeletePersistentTask: (client, { written: taskId }) => client.deletePersistentTask({ taskId }),
  DeletePersistentCacheTask: (client, { written: taskId }) =>
    client.deletePersistentCacheTask({ taskId }),
}

const { ca, serverCert: cert, serverKey: key } = certificates
const ways: readonly {
  readonly over: string
  readonly tls: TlsOptions | undefined
  readonly refused: Readonly<Record<string, Call>>
}[] = [
  { over: 'clear text', tls: undefined, refused: { ...outputs, ...files, ...deletes } },
  { over: 'mutual TLS', tls: { ca, cert, key }, refused: { ...outputs, ...files } },
  {
    over: 'mutual TLS without deletes',
    tls: { ca, cert, key, deletes: false },
    refused: { ...outputs, ...files, ...deletes },
  },
]

for (const { over, tls, refused } of ways) {
  test(`The upload service refuses what it must over ${over}, and touches nothing`, async (t) => {
    const from = await origin(t, { length: 5 * mib })
    const folder = tempFolder(t)
    const secret = join(folder, 'secret')
    await writeFile(secret, 'mine')
    const peer = await startPeer(t, tls === undefined ? {} : { tls })
    const download = await peer.download(from.url).done
    const written = await peer.write(new Content(5 * mib, 6).bytes(), { replicas: 1 })
    const requests = from.requests.length
    const before = stateOf(peer.explain())
    const channel = openChannel({
      address: peer.address,
      ...(tls === undefined
        ? {}
        : { tls: { ca, cert: certificates.clientCert, key: certificates.clientKey } }),
    })
    cleanup(t, () => channel.close())
    const client = createClient(DfdaemonUpload, channel)
    const prey: Prey = {
      output: join(folder, 'out'),
      secret,
      url: `${from.url}?other`,
      download: download.id,
      written: written.id,
    }
    for (const [what, call] of Object.entries(refused)) {
      await assert.rejects(
        call(client, prey),
        (error) => {
          const { code, message } = ConnectError.from(error)
          assert.equal(Code[code], 'PermissionDenied', `${what}: ${message}`)
          assert.ok(!message.includes(folder), 'the answer repeats no path')
          return true
        },
        what,
      )
    }
    assert.equal(from.requests.length, requests)
    assert.deepEqual(stateOf(peer.explain()), before)
    await assert.rejects(access(prey.output))
    assert.equal(await readFile(secret, 'utf8'), 'mine')
  })
}

test('The upload service does not mind overwrite without a path: it is passed on with an order for a seed', async (t) => {
  const from = await origin(t, { length: 5 * mib })
  const peer = await startPeer(t)
  const channel = openChannel({ address: peer.address })
  cleanup(t, () => channel.close())
  const client = createClient(DfdaemonUpload, channel)
  await all(client.downloadTask({ download: { url: from.url, overwrite: true } }))
  assert.equal(from.counts.ranged, 2)
})

function stateOf(explained: Record<string, unknown>): unknown {
  return { stores: explained['stores'], tasks: explained['tasks'] }
}
