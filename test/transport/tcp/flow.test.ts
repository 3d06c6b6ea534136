import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { PeerError } from '../../../src/errors.ts'
import { DiskStore } from '../../../src/storage/disk-store.ts'
import type { KeptTask } from '../../../src/storage/store.ts'
import { pieceAt } from '../../../src/task/piece.ts'
import type { ParentAddress, Shelf } from '../../../src/task/ports.ts'
import type { TcpOptions } from '../../../src/transport/tcp/options.ts'
import { tcp } from '../../../src/transport/tcp/tcp.ts'
import type { RateGate, Transport } from '../../../src/transport/transport.ts'
import { encodeContentHead } from '../../../src/transport/vortex.ts'
import { systemClock } from '../../../src/util/clock.ts'
import { TokenBucket } from '../../../src/util/rate.ts'
import { cleanup } from '../../support/cleanup.ts'
import { Content } from '../../support/content.ts'
import { leaks } from '../../support/leaks.ts'
import { tempFolder } from '../../support/temp-folder.ts'
import { record } from '../../storage/filling.ts'
import { addressOf, never, noLimit } from '../pair.ts'

const MiB = 1024 * 1024
const pieceLength = 4 * MiB

/** Both sides with the addon, one of them, none. */
const ways = [
  { parent: true, child: true },
  { parent: true, child: false },
  { parent: false, child: true },
  { parent: false, child: false },
]

for (const way of ways) {
  const name = `TCP from disk to disk, the addon at ${JSON.stringify(way)}`
  // A rate that is not unlimited by its own word, one that is, and one that holds.
  const rates: readonly (readonly [string, RateGate])[] = [
    ['no word about a limit', noLimit],
    ['no limit', { take: () => Promise.resolve(), limited: false }],
    ['a limit', new TokenBucket({ bytesPerSecond: 500e6, clock: systemClock })],
  ]
  for (const [limit, uploadRate] of rates) {
    test(`${name}, ${limit}: all bytes come and are digested`, async (t) => {
      const { fetchAll, child } = await scene(t, 3 * pieceLength + 200_001, { ...way, uploadRate })
      await fetchAll()
      assert.ok(child.complete)
    })
  }

  test(`${name}: a seeded file that is written to is refused, and its old pieces are not mixed up`, async (t) => {
    const { path, fetch, seeded } = await scene(t, 2 * pieceLength, { ...way, seed: true })
    await fetch(0)
    writeFileSync(path, new Content(2 * pieceLength, 99).bytes(0, 2 * pieceLength))
    await assert.rejects(fetch(1), (error) => PeerError.is(error))
    assert.ok(seeded !== undefined)
  })
}

test('ParentConnection gives up a piece that the addon is reading, and the slot is free again', async (t) => {
  const parent = await halfParent(t)
  const { fetchFrom, child, store } = await scene(t, 2 * pieceLength, { parent: true, child: true })
  const stop = new AbortController()
  const reading = fetchFrom(parent.address, 0, stop.signal)
  const socket = await parent.sendHalf(pieceAt(child.geometry, 0))
  await until(() => folderBytes(store) > 0)
  const closed = new Promise((resolve) => socket.once('close', resolve))
  stop.abort(new Error('enough'))
  await assert.rejects(reading, { message: 'enough' })
  await closed
  // The next slot of the same piece is given only when nothing of the old one is written any more.
  const slot = await child.slot(0, never)
  slot.release()
  assert.equal(child.has(0), false)
})

test('ParentConnection tells a parent that stops in the middle while the addon reads', async (t) => {
  const parent = await halfParent(t)
  const options: TcpOptions = { stallTimeoutMs: 150 }
  const { fetchFrom, child } = await scene(t, pieceLength, { parent: true, child: true, options })
  const reading = fetchFrom(parent.address, 0, never)
  const failed = assert.rejects(reading, (error) => {
    return PeerError.is(error, 'PARENT_UNREACHABLE') && /No byte within 150 ms/.test(error.message)
  })
  await parent.sendHalf(pieceAt(child.geometry, 0))
  await failed
})

test('ParentConnection tells a parent that ends in the middle while the addon reads', async (t) => {
  for (const how of ['end', 'reset'] as const) {
    const parent = await halfParent(t)
    const { fetchFrom, child } = await scene(t, pieceLength, { parent: true, child: true })
    const reading = fetchFrom(parent.address, 0, never)
    const failed = assert.rejects(reading, (error) => PeerError.is(error, 'PARENT_UNREACHABLE'))
    const socket = await parent.sendHalf(pieceAt(child.geometry, 0))
    if (how === 'end') socket.end()
    else socket.resetAndDestroy()
    await failed
  }
})

test('Fetched with a wrong byte, the digest is wrong, whoever read it', async (t) => {
  const parent = await halfParent(t)
  for (const native of [true, false]) {
    const { fetchFrom, child } = await scene(t, pieceLength, { parent: true, child: native })
    const reading = fetchFrom(parent.address, 0, never)
    await parent.sendWrong(pieceAt(child.geometry, 0))
    await assert.rejects(reading, RangeError)
    assert.equal(child.has(0), false)
  }
})

test('ChildConnection cuts a child that takes nothing while the addon sends', async (t) => {
  const options: TcpOptions = { stallTimeoutMs: 200 }
  const { address, request, children } = await scene(t, 8 * pieceLength, {
    parent: true,
    child: true,
    options,
    bigPieces: true,
  })
  const socket = connect({ host: address.endpoint.ip, port: address.endpoint.tcpPort ?? 0 })
  cleanup(t, async () => void socket.destroy())
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  socket.pause()
  socket.write(request)
  await until(() => socket.destroyed || socket.readableLength > 0)
  await until(() => children() === 0)
  socket.resume()
  await once(socket, 'close')
  // More than the buffers of both kernels hold was never sent.
  assert.ok(socket.bytesRead < 8 * pieceLength, String(socket.bytesRead))
})

interface Wanted {
  readonly parent: boolean
  readonly child: boolean
  readonly uploadRate?: RateGate
  readonly options?: TcpOptions
  readonly seed?: boolean
  readonly bigPieces?: boolean
}

interface Scene {
  readonly child: KeptTask
  readonly store: string
  readonly seeded: KeptTask
  readonly path: string
  readonly address: ParentAddress
  /** A request for piece 0, as it goes over the wire. */
  readonly request: Uint8Array
  /** Connections of children that the parent has now. */
  children(): number
  fetchAll(): Promise<void>
  fetch(number: number): Promise<void>
  fetchFrom(address: ParentAddress, number: number, signal: AbortSignal): Promise<void>
}

/** A store with content behind a transport, and an empty one that reads from it. */
async function scene(t: TestContext, length: number, wanted: Wanted): Promise<Scene> {
  leaks(t)
  const content = new Content(length)
  const path = join(tempFolder(t), 'seeded')
  writeFileSync(path, content.bytes(0, length))
  const cut = wanted.bigPieces === true ? length : pieceLength
  const open = async (native: boolean): Promise<[DiskStore, string]> => {
    const dir = join(tempFolder(t), 'store')
    const store = await DiskStore.open({ dir, native })
    cleanup(t, () => store.close())
    return [store, dir]
  }
  const [above] = await open(wanted.parent)
  const [below, store] = await open(wanted.child)
  const seeded = await above.adopt(record(), path, cut, never)
  const child = await below.create(record(), seeded.geometry)
  const transport = (native: boolean, shelf: Shelf): Transport => {
    const made = tcp({ ...wanted.options, native })({
      shelf,
      listen: { ip: '127.0.0.1', port: 0 },
      uploadRate: wanted.uploadRate ?? { take: () => Promise.resolve(), limited: false },
      uploadSlots: 4,
      clock: systemClock,
    })
    cleanup(t, async () => made.destroy(new Error('The test is over')))
    return made
  }
  const [parent, reader] = [transport(wanted.parent, above), transport(wanted.child, below)]
  const at = await parent.listen()
  assert.ok(at !== undefined)
  const address = addressOf(at)
  const { id: taskId, kind } = record()
  const fetchFrom = async (
    from: ParentAddress,
    number: number,
    signal: AbortSignal,
  ): Promise<void> => {
    const slot = await child.slot(number, never)
    try {
      const asked = { taskId, kind, piece: pieceAt(child.geometry, number) }
      const { digest } = await reader.read(from, asked, slot, signal)
      assert.equal(slot.filled, asked.piece.length)
      await child.commit(slot, { digest, parentId: from.parent.id })
    } finally {
      slot.release()
    }
  }
  const children = (): number => {
    const { server } = parent.explain() as { readonly server: { readonly connections: number } }
    return server.connections
  }
  const fetch = (number: number): Promise<void> => fetchFrom(address, number, never)
  const fetchAll = async (): Promise<void> => {
    const numbers = Array.from({ length: child.geometry.pieceCount }, (_, number) => number)
    await Promise.all(numbers.map(fetch))
    for (const number of numbers) {
      const opened = await below.open({ taskId, kind, number }, never)
      const { piece } = opened
      const bytes = new Uint8Array(piece.length)
      assert.equal(await opened.read(bytes, 0), piece.length)
      assert.equal(content.difference(bytes, piece.offset), undefined)
      opened.close()
    }
    // What the journal says of a piece is what lies there: it is read and compared when the store is opened again.
    assert.equal(child.keptCount, numbers.length)
    for (const number of numbers) assert.equal(child.digestOf(number), seeded.digestOf(number))
  }
  const request = Buffer.concat([
    Buffer.from([1, 0, 0, 0, 0, 68]),
    Buffer.from(taskId, 'latin1'),
    Buffer.from([0, 0, 0, 0]),
  ])
  return { child, store, seeded, path, address, request, children, fetchAll, fetch, fetchFrom }
}

/** A parent that answers as it is told. */
async function halfParent(t: TestContext): Promise<{
  readonly address: ParentAddress
  sendHalf(piece: {
    readonly number: number
    readonly offset: number
    readonly length: number
  }): Promise<Socket>
  sendWrong(piece: {
    readonly number: number
    readonly offset: number
    readonly length: number
  }): Promise<void>
}> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const sockets: Socket[] = []
  const waiting: ((socket: Socket) => void)[] = []
  server.on('connection', (socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    socket.once('data', () => waiting.shift()?.(socket))
  })
  cleanup(t, async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const at = server.address()
  assert.ok(at !== null && typeof at === 'object')
  const asked = (): Promise<Socket> => new Promise((resolve) => waiting.push(resolve))
  const send = async (
    { number, offset, length }: { number: number; offset: number; length: number },
    count: number,
  ): Promise<Socket> => {
    const socket = await asked()
    const head = {
      kind: 'standard',
      number,
      offset,
      length,
      digest: 'crc32:1',
      parentId: '',
    } as const
    socket.write(encodeContentHead({ ...head, costSeconds: 0, createdAtSeconds: 1 }))
    socket.write(Buffer.alloc(count, 7))
    return socket
  }
  return {
    address: addressOf({ ip: '127.0.0.1', port: at.port }),
    sendHalf: (piece) => send(piece, piece.length / 2),
    sendWrong: async (piece) => void (await send(piece, piece.length)),
  }
}

function folderBytes(dir: string): number {
  return readdirSync(join(dir, 'content'), { recursive: true }).length
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5))
}
