import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createServer, connect as connectTo, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import type { NativeContext, NativeRemote } from '../../../src/transport/rdma/native.ts'
import { tempFolder } from '../../support/temp-folder.ts'
import {
  endOf,
  fill,
  liveObjects,
  MiB,
  nativeRdma,
  openPort,
  order,
  otherDevice,
  outcomes,
  realDevice,
} from './rig.ts'

const native = nativeRdma()

/** What the parent process tells of itself. */
export interface Offer extends Omit<NativeRemote, 'gid'> {
  readonly gid: readonly number[]
  readonly address: string
  readonly key: number
  readonly bytes: number
}

interface Parent {
  readonly process: ChildProcess
  readonly offer: Offer
  tell(message: unknown): Promise<unknown>
}

const bytes = realDevice === undefined ? 64 * MiB : 4 * MiB

/** A parent in a process of its own, connected to a queue pair of ours. */
async function reader(
  t: TestContext,
  context: NativeContext,
): Promise<{
  readonly parent: Parent
  readonly memory: Uint8Array<ArrayBuffer>
  read(offset: number, length: number): Promise<void>
  abort(): Promise<void>
}> {
  const domain = await native.domain(context)
  const queuePair = await native.queuePair(domain, { readsMax: 64, remoteRead: false })
  const memory = new Uint8Array(await native.allocate(bytes))
  const registration = await native.register(domain, memory.buffer, 0, bytes, 'local')
  const parent = await parentProcess(t, endOf(context, queuePair))
  const { offer } = parent
  await native.connect(queuePair, { ...offer, gid: new Uint8Array(offer.gid) })
  return {
    parent,
    memory,
    read: (offset, byteLength) =>
      native.read(
        queuePair,
        { registration, offset, byteLength },
        { address: BigInt(offer.address) + BigInt(offset), key: offer.key },
      ),
    abort: () => native.abort(queuePair),
  }
}

async function parentProcess(t: TestContext, own: NativeRemote): Promise<Parent> {
  const child = fork(new URL('parent-process.js', import.meta.url), [otherDevice, String(bytes)])
  t.after(() => child.kill('SIGKILL'))
  const tell = (message: unknown): Promise<unknown> =>
    new Promise((resolve, reject) => {
      child.once('message', resolve)
      child.once('exit', () => reject(new Error('The parent process ended')))
      child.send(message as object)
    })
  await new Promise((resolve) => child.once('message', resolve))
  const offer = (await tell({ connect: { ...own, gid: [...own.gid] } })) as Offer
  return { process: child, offer, tell }
}

test('Two processes: content is equal, also while the JavaScript of the parent is blocked', async (t) => {
  const over = join(tempFolder(t), 'over')
  const { context } = await openPort(native)
  const { parent, memory, read } = await reader(t, context)
  const wanted = new Uint8Array(bytes)
  fill(wanted)
  const all = (): Promise<readonly string[]> =>
    outcomes(Array.from({ length: 16 }, (_, at) => read((at * bytes) / 16, bytes / 16)))
  assert.deepEqual(new Set(await all()), new Set(['done']))
  assert.ok(Buffer.from(memory.buffer).equals(wanted))
  memory.fill(0)
  await parent.tell({ blockUntil: over })
  assert.deepEqual(new Set(await all()), new Set(['done']))
  assert.ok(Buffer.from(memory.buffer).equals(wanted))
  writeFileSync(over, '')
  await native.close(context)
  assert.deepEqual(liveObjects(native), [0, 0, 0, 0])
})

test('A parent that is killed: the first read ends with 12, the others with 5', async (t) => {
  const { context } = await openPort(native)
  const { parent, read, abort } = await reader(t, context)
  await read(0, bytes / 64)
  // The first one is answered, and some of the second.
  const parts = bytes / MiB + 6
  if (realDevice === undefined) assert.equal(await order(`hold ${parts}`, parent.process.pid), 'ok')
  const reads = outcomes(Array.from({ length: 64 }, () => read(0, bytes)))
  parent.process.kill('SIGKILL')
  const ends = await reads
  const done = ends.indexOf('ERR_RDMA_TRANSFER 12')
  assert.ok(done >= 0 && done <= (realDevice === undefined ? 1 : 63), ends.join())
  assert.deepEqual(ends.slice(0, done), Array(done).fill('done'))
  assert.deepEqual(ends.slice(done + 1), Array(63 - done).fill('ERR_RDMA_FLUSHED 5'))
  await abort()
  await native.close(context)
  assert.deepEqual(liveObjects(native), [0, 0, 0, 0])
})

test('Throughput beside TCP', async (t) => {
  const { context } = await openPort(native)
  const { read } = await reader(t, context)
  const step = 4 * MiB
  const rates: number[] = []
  for (let round = 0; round < 5; round += 1) {
    const start = process.hrtime.bigint()
    const offsets = Array.from({ length: bytes / step }, (_, at) => at * step)
    await Promise.all(offsets.map((offset) => read(offset, step)))
    rates.push(bytes / Number(process.hrtime.bigint() - start))
  }
  const tcp: number[] = []
  for (let round = 0; round < 5; round += 1) tcp.push(await tcpRate())
  const best = (of: readonly number[]): string => Math.max(...of).toFixed(2)
  t.diagnostic(`READ ${best(rates)} GB/s, TCP within one process ${best(tcp)} GB/s, best of 5`)
  await native.close(context)
})

/** GB/s of `bytes` through a socket into a buffer of ours. */
async function tcpRate(): Promise<number> {
  const content = Buffer.alloc(MiB, 7)
  const server = createServer((socket) => {
    let left = bytes
    const more = (): void => {
      while (left > 0) {
        left -= content.length
        if (!socket.write(content)) {
          socket.once('drain', more)
          return
        }
      }
      socket.end()
    }
    more()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const start = process.hrtime.bigint()
  const buffer = Buffer.alloc(MiB)
  await new Promise((resolve, reject) => {
    const onread = { buffer, callback: () => true }
    const socket = connectTo({ port, host: '127.0.0.1', onread })
    socket.once('close', resolve)
    socket.once('error', reject)
  })
  const rate = bytes / Number(process.hrtime.bigint() - start)
  await new Promise((resolve) => server.close(resolve))
  return rate
}
