import assert from 'node:assert/strict'
import { access, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { inspect } from 'node:util'
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect'
import { PeerError } from '../../src/errors.ts'
import type { Peer } from '../../src/peer/peer.ts'
import type { TlsOptions } from '../../src/peer/options.ts'
import { type ChannelTls, openChannel } from '../../src/rpc/channel.ts'
import { DfdaemonUpload } from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { Scheduler } from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { rpcError } from '../../src/rpc/rpc-error.ts'
import { certificates } from '../rpc/certificates.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { leaks } from '../support/leaks.ts'
import { origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyBytes, verifyFile } from '../support/verify.ts'
import { otherCertificates } from './certificates.ts'
import { startPeer, waitFor } from './start-peer.ts'

const mib = 1024 * 1024
const { ca } = certificates
const one: TlsOptions = { ca, cert: certificates.serverCert, key: certificates.serverKey }
const two: TlsOptions = { ca, cert: certificates.clientCert, key: certificates.clientKey }
const stranger: TlsOptions = otherOptions({ ca })

function otherOptions({ ca: trusted }: { readonly ca: string }): TlsOptions {
  return { ca: trusted, cert: otherCertificates.cert, key: otherCertificates.key }
}

function upload(t: TestContext, peer: Peer, tls?: ChannelTls): Client<typeof DfdaemonUpload> {
  const channel = openChannel({ address: peer.address, ...(tls === undefined ? {} : { tls }) })
  cleanup(t, () => channel.close())
  return createClient(DfdaemonUpload, channel)
}

function code(wanted: Code): (error: unknown) => boolean {
  return (error) => {
    assert.equal(Code[ConnectError.from(error).code], Code[wanted], String(error))
    return true
  }
}

/** With TLS 1.3 a client learns only after its own part that its certificate was not taken, so the call breaks instead of the connecting. */
function unreached(error: unknown): boolean {
  assert.equal(rpcError(error).is, 'unavailable', String(error))
  return true
}

async function drain(stream: AsyncIterable<unknown>): Promise<number> {
  let count = 0
  for await (const _ of stream) count++
  return count
}

/** What the embedded scheduler of a peer knows. */
function scheduling(peer: Peer): {
  readonly hosts: readonly { readonly id: string }[]
  readonly tasks: readonly {
    readonly id: string
    readonly have?: { readonly persistent: number; readonly all: number }
    readonly peers: readonly { readonly host: string }[]
  }[]
} {
  return (peer.explain() as { scheduling: ReturnType<typeof scheduling> }).scheduling
}

test('Two peers and a scheduler exchange everything over mutual TLS', async (t) => {
  leaks(t)
  const from = await origin(t, { length: 21 * mib })
  const first = await startPeer(t, { tls: one })
  const second = await startPeer(t, { tls: two, scheduler: first.schedulerAddress })
  await first.download(from.url).done
  const info = await second.download(from.url, { backToSource: 'never' }).done
  assert.deepEqual(info.traffic, { source: 0, peers: 21 * mib, local: 0 })
  const content = new Content(9 * mib, 4)
  const written = await second.write(content.bytes(), { replicas: 2 })
  // The scheduler orders the second copy, over TLS too.
  const have = () => scheduling(first).tasks.find(({ id }) => id === written.id)?.have
  await waitFor(() => have()?.persistent === 2)
  verifyBytes(await first.download({ task: written.id }).bytes(), content)
  const shown = [first, second].map((peer) => inspect(peer.explain(), { depth: 20 })).join()
  assert.ok(!shown.includes('PRIVATE KEY'))
  assert.ok(!inspect(first, { depth: 20, showHidden: true }).includes('PRIVATE KEY'))
})

test('A scheduler is found by a name that its certificate carries, with serverName', async (t) => {
  const named = {
    ca: otherCertificates.ca,
    key: otherCertificates.key,
    cert: otherCertificates.namedCert,
  }
  const from = await origin(t, { length: 5 * mib })
  const first = await startPeer(t, { tls: { ...named, serverName: 'peer.test' } })
  const { schedulerAddress: scheduler } = first
  const second = await startPeer(t, { tls: { ...named, serverName: 'peer.test' }, scheduler })
  await first.download(from.url).done
  assert.equal((await second.download(from.url).done).traffic.peers, 5 * mib)
  const unnamed = await startPeer(t, { tls: named, scheduler })
  assert.match(inspect(unnamed.explain(), { depth: 9 }), /cert|altnames/i)
  assert.equal(scheduling(first).hosts.length, 2)
})

const strangers: readonly (readonly [who: string, tls: ChannelTls | undefined])[] = [
  ['clear text', undefined],
  ['no certificate', { ca }],
  ["another authority's certificate", stranger],
  ['trust in another authority', { ...two, ca: otherCertificates.ca }],
]

test('Callers without a certificate of the authority are refused on both ports, before any call', async (t) => {
  const first = await startPeer(t, { tls: one })
  const content = new Content(5 * mib, 8)
  const written = await first.write(content.bytes(), { replicas: 1 })
  for (const [who, tls] of strangers) {
    const client = upload(t, first, tls)
    const taskId = written.id
    await assert.rejects(client.statLocalTask({ taskId }), unreached, who)
    await assert.rejects(client.deletePersistentCacheTask({ taskId }), unreached, who)
    const pieces = client.syncPersistentCachePieces({ taskId, interestedPieceNumbers: [0] })
    await assert.rejects(drain(pieces), unreached, who)
    const address = first.schedulerAddress
    const channel = openChannel({ address, ...(tls === undefined ? {} : { tls }) })
    cleanup(t, () => channel.close())
    await assert.rejects(
      createClient(Scheduler, channel).deleteHost({ hostId: first.hostId }),
      unreached,
      who,
    )
  }
  assert.equal(scheduling(first).hosts.length, 1)
  verifyBytes(await first.download({ task: written.id }).bytes(), content)
})

test('A peer without a certificate works alone, and the others do without it', async (t) => {
  const from = await origin(t, { length: 5 * mib })
  const first = await startPeer(t, { tls: one })
  await first.download(from.url).done
  for (const tls of [undefined, stranger, otherOptions({ ca: otherCertificates.ca })]) {
    const outside = await startPeer(t, {
      scheduler: first.schedulerAddress,
      ...(tls === undefined ? {} : { tls }),
    })
    const never = outside.download(from.url, { backToSource: 'never' }).done
    await assert.rejects(never, (error) => PeerError.is(error))
    const bytes = await outside.download(from.url).bytes()
    verifyBytes(bytes, from.content)
  }
  assert.equal(scheduling(first).hosts.length, 1)
})

test('Everybody with a certificate may delete: the bytes go, the scheduler knows, the answer is that of upstream', async (t) => {
  const from = await origin(t, { length: 9 * mib })
  const first = await startPeer(t, { tls: one })
  const second = await startPeer(t, { tls: two, scheduler: first.schedulerAddress })
  const { id } = await second.download(from.url).done
  const written = await second.write(new Content(5 * mib, 2).bytes(), { replicas: 1 })
  const holders = (task: string) =>
    scheduling(first)
      .tasks.find((each) => each.id === task)
      ?.peers.map(({ host }) => host)
  assert.deepEqual(holders(id), [second.hostId])
  assert.deepEqual(holders(written.id), [second.hostId])
  const client = upload(t, second, one)
  await client.deleteTask({ taskId: id })
  assert.deepEqual(holders(id) ?? [], [])
  await assert.rejects(client.statLocalTask({ taskId: id }), code(Code.NotFound))
  await assert.rejects(client.deleteTask({ taskId: id }), code(Code.NotFound))
  await client.deletePersistentCacheTask({ taskId: written.id })
  await assert.rejects(client.statLocalTask({ taskId: written.id }), code(Code.NotFound))
  assert.deepEqual(
    (holders(written.id) ?? []).filter((host) => host === second.hostId),
    [],
  )
  // Of these kinds it is no failure that there is nothing.
  await client.deletePersistentCacheTask({ taskId: written.id })
  await client.deletePersistentTask({ taskId: written.id })
  assert.equal((await second.download(from.url).done).traffic.source, 9 * mib)
})

test('A call deletes only tasks of its kind, and none that is being downloaded', async (t) => {
  let open = (): void => undefined
  const gate = new Promise<void>((resolve) => {
    open = resolve
  })
  const from = await origin(t, {
    length: 9 * mib,
    answer: async ({ kind }) => {
      if (kind !== 'stat') await gate
      return undefined
    },
  })
  const peer = await startPeer(t, { tls: one })
  const client = upload(t, peer, two)
  const download = peer.download(from.url)
  const done = download.done
  await waitFor(() => (peer.explain() as { tasks: unknown[] }).tasks.length === 1)
  const [{ task }] = (peer.explain() as { tasks: [{ task: string }] }).tasks
  await assert.rejects(client.deleteTask({ taskId: task }), code(Code.FailedPrecondition))
  open()
  const { id } = await done
  assert.equal(id, task)
  await client.deletePersistentCacheTask({ taskId: id })
  assert.equal((await client.statLocalTask({ taskId: id })).taskId, id)
  await client.deleteTask({ taskId: id })
})

test('tls.deletes: false refuses deletes to everybody', async (t) => {
  const peer = await startPeer(t, { tls: { ...one, deletes: false } })
  const { id: taskId } = await peer.write(new Content(5 * mib, 3).bytes(), { replicas: 1 })
  const client = upload(t, peer, two)
  await assert.rejects(client.deletePersistentCacheTask({ taskId }), code(Code.PermissionDenied))
  assert.equal((await client.statLocalTask({ taskId })).taskId, taskId)
})

test('tls.outputDirs lets callers with a certificate write below its folders and nowhere else', async (t) => {
  const from = await origin(t, { length: 9 * mib })
  const dir = tempFolder(t)
  const elsewhere = tempFolder(t)
  await mkdir(join(dir, 'sub'))
  await symlink(elsewhere, join(dir, 'way-out'))
  await symlink(join(dir, 'sub'), join(dir, 'way-in'))
  const peer = await startPeer(t, { tls: { ...one, outputDirs: [dir] } })
  const client = upload(t, peer, two)
  const order = (outputPath: string, more: object = {}) =>
    drain(client.downloadTask({ download: { url: from.url, outputPath, ...more } }))
  for (const path of [
    join(elsewhere, 'a'),
    join(dir, 'way-out', 'a'),
    `${dir}/sub/../../a`,
    `${dir}-not/a`,
    dir,
    join(dir, 'missing', 'a'),
    'a',
  ]) {
    await assert.rejects(order(path), code(Code.PermissionDenied), path)
  }
  assert.equal(from.requests.length, 0, 'nothing was fetched for them')
  await assert.rejects(access(join(elsewhere, 'a')))
  for (const path of [join(dir, 'a'), join(dir, 'sub', 'a'), join(dir, 'way-in', 'b')]) {
    assert.equal(await order(path), 4)
    await verifyFile(path, from.content)
  }
  await writeFile(join(dir, 'old'), 'old')
  await assert.rejects(order(join(dir, 'old')), code(Code.Internal))
  assert.equal(await readFile(join(dir, 'old'), 'utf8'), 'old')
  await order(join(dir, 'old'), { overwrite: true })
  await verifyFile(join(dir, 'old'), from.content)
  const range = { start: 0n, length: 5n }
  await assert.rejects(order(join(dir, 'part'), { range }), code(Code.InvalidArgument))
  const { id: taskId } = await peer.write(new Content(5 * mib, 3).bytes(), { replicas: 1 })
  const copy = (outputPath: string) =>
    drain(client.downloadPersistentCacheTask({ taskId, outputPath }))
  await assert.rejects(copy(join(elsewhere, 'c')), code(Code.PermissionDenied))
  await copy(join(dir, 'c'))
  await verifyFile(join(dir, 'c'), new Content(5 * mib, 3))
})
