import assert from 'node:assert/strict'
import { once } from 'node:events'
import { closeSync, mkdirSync, openSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { crc32 } from '../../src/hash/crc32.ts'
import { loadXxhash } from '../../src/hash/xxhash.ts'
import { loadFlow, type NativeFlow } from '../../src/util/flow.ts'
import { move, type Moved } from '../../src/util/flow-move.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { prebuild, sourcesHash, targets } from '../support/native-build.ts'
import { fdOf, socketPair } from '../support/socket-pair.ts'
import { tempFolder } from '../support/temp-folder.ts'

const MiB = 1024 * 1024
const never = new AbortController().signal
const flow = loadFlow()
const published = targets.some((target) => target === `${process.platform}-${process.arch}`)

function needed(): NativeFlow {
  assert.ok(flow !== undefined)
  return flow
}

test('loadFlow() gives the addon of the sources in the checkout where one is published', () => {
  assert.equal(flow !== undefined, published)
  if (flow === undefined) return
  assert.equal(flow.sources, sourcesHash('flow'))
  assert.equal(loadFlow(), flow)
})

test('loadFlow() gives nothing where there is none, or none that loads', (t) => {
  const folder = tempFolder(t)
  assert.equal(loadFlow({ platform: 'darwin' }), undefined)
  assert.equal(loadFlow({ arch: 'riscv64' }), undefined)
  assert.equal(loadFlow({ folder }), undefined)
  const other = process.arch === 'x64' ? 'linux-arm64' : 'linux-x64'
  mkdirSync(join(folder, 'wrong'))
  const name = `flow-linux-${process.arch}.node`
  writeFileSync(join(folder, 'wrong', name), readFileSync(prebuild(other, 'flow')))
  writeFileSync(join(folder, name), 'no library')
  assert.equal(loadFlow({ folder }), undefined)
  assert.equal(loadFlow({ folder: join(folder, 'wrong') }), undefined)
})

if (flow !== undefined) {
  test('NativeFlow.add() computes what zlib and xxhash compute, however the bytes are cut', async () => {
    const xxhash = await loadXxhash()
    const content = new Content(300_000).bytes(0, 300_000)
    for (let round = 0; round < 600; round++) {
      const length = round < 300 ? round : (round * 7919) % 300_000
      const bytes = content.subarray(round % 61, (round % 61) + length)
      for (const cut of [1 << 30, 1 + (round % 130), 4096 + (round % 33)]) {
        if (length / cut > 500) continue
        const sums = needed().sums(true)
        for (let at = 0; at < bytes.length; at += cut) {
          needed().add(sums, bytes.subarray(at, at + cut))
        }
        assert.equal(needed().crc(sums), crc32(bytes))
        assert.equal(needed().xxh64(sums), xxhash.h64(bytes))
      }
    }
  })

  test('NativeFlow.add() takes views of shared memory', () => {
    const bytes = new Uint8Array(new SharedArrayBuffer(5000), 100, 3000).fill(9)
    const sums = needed().sums(false)
    needed().add(sums, bytes)
    assert.equal(needed().crc(sums), crc32(bytes))
  })

  test('NativeFlow.release() empties an array that is all of its buffer, and no other', () => {
    const whole = new Uint8Array(64 * 1024).fill(7)
    const other = new Uint8Array(whole.buffer, 10)
    assert.equal(needed().release(other), false)
    assert.equal(other[0], 7)
    const before = process.memoryUsage().arrayBuffers
    assert.equal(needed().release(whole), true)
    assert.equal(process.memoryUsage().arrayBuffers, before - 64 * 1024)
    assert.equal(whole.length + other.length + whole.buffer.byteLength, 0)
    assert.equal(needed().release(whole), false)
    const shared = new Uint8Array(new SharedArrayBuffer(100))
    assert.equal(needed().release(shared), false)
    assert.equal(needed().release(Buffer.allocUnsafe(100)), false)
    assert.equal(shared.length, 100)
  })

  test('NativeFlow throws for wrong arguments', () => {
    const calls = needed() as unknown as Record<string, (...values: unknown[]) => unknown>
    const sums = needed().sums(true)
    const done = (): void => undefined
    const wrong: readonly (readonly [string, ...unknown[]])[] = [
      ['sums'],
      ['sums', 1],
      ['add', sums],
      ['add', sums, 'text'],
      ['add', sums, new Uint16Array(4)],
      ['add', new Uint8Array(79), sums],
      ['add', {}, sums],
      ['crc', new Uint8Array(81)],
      ['crc'],
      ['xxh64', null],
      ['send'],
      ['send', '1', 1, 0, 1, done],
      ['send', 1, 1, -1, 1, done],
      ['send', 1, 1, 0, 1.5, done],
      ['send', 1, 2 ** 40, 0, 1, done],
      ['send', 1, 1, 0, 1],
      ['send', 1, 1, Number.NaN, 1, done],
      ['receive', 1, 1, 0, 1, done],
      ['receive', 1, 1, 0, 1, done, new Uint8Array(3)],
      ['receive', 1, 1, 0, 9, done, sums, 'text'],
      ['receive', 1, 1, 0, 9, done, sums, new Uint8Array(9)],
      ['receive', 1, 1, 0, MiB, done, sums, new Uint8Array(MiB / 4 + 1)],
      ['silence'],
      ['fill', 1, 'text', done, sums],
      ['fill', 1, new Uint8Array(0), done, sums],
      ['fill', 1, new Uint8Array(5), sums, done],
      ['fill', -1, new Uint8Array(5), done, sums],
      ['fill', 1, new Uint8Array(5), done],
      ['largePages'],
      ['largePages', new Float64Array(8)],
      ['cancel'],
      ['cancel', -1],
      ['cancel', 'x'],
    ]
    for (const [name, ...values] of wrong) {
      assert.throws(() => calls[name]?.(...values), /must be/, `${name}(${values.length})`)
    }
    // No socket, and no descriptor at all: the kernel says so.
    const file = openSync('/dev/null', 'r')
    assert.throws(() => calls['send']?.(file, file, 0, 1, done), { code: 'ERR_FLOW' })
    assert.throws(() => calls['send']?.(99_999, file, 0, 1, done), { code: 'ERR_FLOW', errno: 9 })
    closeSync(file)
    assert.equal(needed().cancel(12_345), false)
  })

  // From one address to itself bytes are copied; to another one they are sent from page to page.
  for (const address of ['127.0.0.1', '127.0.0.2']) {
    test(`NativeFlow.send() and receive() move a file over a socket, from ${address}, and digest it`, async (t) => {
      const { bytes, from, to, left, right } = await scene(t, 9 * MiB + 7, address)
      const sums = needed().sums(true)
      const begin = 12_345
      const length = bytes.length - begin
      const [sent, received] = await Promise.all([
        all(length, (at, signal) => sending(left, from, begin + at, length - at, signal)),
        all(length, (at, signal) => receiving(right, to, 100 + at, length - at, sums, signal)),
      ])
      assert.deepEqual([sent, received], [length, length])
      const want = bytes.subarray(begin)
      assert.ok(readFileSync(to.path).subarray(100).equals(want))
      assert.equal(needed().crc(sums), crc32(want))
      assert.equal(needed().xxh64(sums), (await loadXxhash()).h64(want))
    })

    test(`NativeFlow.send() tells of a file that ends early, and of a child that is gone, from ${address}`, async (t) => {
      const { from, left, right } = await scene(t, 5000, address)
      const short = await all(6000, (at, signal) => sending(left, from, at, 6000 - at, signal))
      assert.equal(short, 5000)
      right.resetAndDestroy()
      await once(right, 'close')
      const gone = await eventually(() => sending(left, from, 0, 5000, never))
      assert.equal(gone, true)
    })
  }

  test('NativeFlow.receive() tells of bytes that came before the rest does, then of the end', async (t) => {
    const { to, left, right } = await scene(t, 1)
    const sums = needed().sums(false)
    const moved = receiving(right, to, 0, 1000, sums, never)
    left.write('slow')
    await new Promise((resolve) => setTimeout(resolve, 80))
    left.write('er')
    const { count } = await moved
    assert.ok(count >= 4, String(count))
    left.end()
    let came = count
    for (;;) {
      const next = await receiving(right, to, came, 1000 - came, sums, never)
      if (next.count === 0) break
      came += next.count
    }
    assert.equal(readFileSync(to.path, 'latin1'), 'slower')
  })

  test('NativeFlow.receive() tells of a full disk, and nothing else is blamed', async (t) => {
    const { left, right } = await scene(t, 1)
    const fd = openSync('/dev/full', 'w')
    cleanup(t, async () => closeSync(fd))
    left.write(Buffer.alloc(300_000))
    const { fileError, socketFailed } = await receiving(
      right,
      { fd, path: '' },
      0,
      300_000,
      needed().sums(false),
      never,
    )
    assert.ok(fileError !== undefined && 'code' in fileError)
    assert.equal(fileError.code, 'ENOSPC')
    assert.equal(socketFailed, false)
  })

  test('move() ends a transfer when its signal fires, and then nothing more is read', async (t) => {
    const { to, left, right } = await scene(t, 1)
    const stop = new AbortController()
    const moved = receiving(right, to, 0, 1000, needed().sums(false), stop.signal)
    stop.abort(new Error('stop'))
    await assert.rejects(moved, { message: 'stop' })
    left.write('more')
    const { count } = await receiving(right, to, 0, 4, needed().sums(false), never)
    assert.equal(count, 4)
  })

  test('NativeFlow lets a worker end while its threads end transfers that nobody is told of any more', async (t) => {
    const { from, left, right } = await scene(t, 1)
    truncateSync(from.path, 8 * 1024 * MiB)
    right.resume()
    const source = `
      const { workerData } = require('node:worker_threads')
      const native = require(workerData.path)
      for (let at = 0; at < 3; at++) native.send(workerData.socket, workerData.file, 0, 2 ** 33, () => undefined)
      process.exit(0)`
    for (let round = 0; round < 10; round++) {
      const worker = new Worker(source, { eval: true, workerData: workerData(left, from) })
      const [code] = await once(worker, 'exit')
      assert.equal(code, 0)
    }
  })

  test('NativeFlow lets a worker end in the middle of transfers', async (t) => {
    const { from, left } = await scene(t, 64 * MiB)
    const source = `
      const { workerData, parentPort } = require('node:worker_threads')
      const native = require(workerData.path)
      for (let at = 0; at < 3; at++) native.send(workerData.socket, workerData.file, 0, 64 << 20, () => undefined)
      native.fill(workerData.socket, new Uint8Array(1 << 20), () => undefined, native.sums(true))
      parentPort.postMessage('begun')
      setInterval(() => undefined, 1000)`
    for (let round = 0; round < 3; round++) {
      const worker = new Worker(source, { eval: true, workerData: workerData(left, from) })
      await once(worker, 'message')
      await worker.terminate()
    }
  })
}

interface OpenedFile {
  readonly fd: number
  readonly path: string
}

function workerData(socket: Socket, file: OpenedFile): object {
  const path = prebuild(process.arch === 'x64' ? 'linux-x64' : 'linux-arm64', 'flow')
  return { path, socket: fdOf(socket), file: file.fd }
}

function sending(
  socket: Socket,
  file: OpenedFile,
  position: number,
  length: number,
  signal: AbortSignal,
): Promise<Moved> {
  return move(
    (done) => needed().send(fdOf(socket), file.fd, position, length, done),
    (id) => needed().cancel(id),
    signal,
  )
}

function receiving(
  socket: Socket,
  file: OpenedFile,
  position: number,
  length: number,
  sums: Uint8Array,
  signal: AbortSignal,
): Promise<Moved> {
  return move(
    (done) => needed().receive(fdOf(socket), file.fd, position, length, done, sums),
    (id) => needed().cancel(id),
    signal,
  )
}

/** Moves on until all is moved or nothing moves any more; the count. */
async function all(
  length: number,
  moveOn: (at: number, signal: AbortSignal) => Promise<Moved>,
): Promise<number> {
  let at = 0
  while (at < length) {
    const { count, fileError, socketFailed } = await moveOn(at, never)
    at += count
    if (count === 0 || fileError !== undefined || socketFailed) break
  }
  return at
}

async function eventually(attempt: () => Promise<Moved>): Promise<boolean> {
  for (;;) {
    const { socketFailed } = await attempt()
    if (socketFailed) return true
  }
}

/** Two connected sockets that nobody reads, and two files. */
async function scene(
  t: TestContext,
  length: number,
  address?: string,
): Promise<{
  readonly bytes: Uint8Array
  readonly from: OpenedFile
  readonly to: OpenedFile
  readonly left: Socket
  readonly right: Socket
}> {
  const folder = tempFolder(t)
  const bytes = new Content(length).bytes(0, length)
  const fromPath = join(folder, 'from')
  const toPath = join(folder, 'to')
  writeFileSync(fromPath, bytes)
  const from = { fd: openSync(fromPath, 'r'), path: fromPath }
  const to = { fd: openSync(toPath, 'w+'), path: toPath }
  const { left, right } = await socketPair(t, address)
  cleanup(t, async () => {
    closeSync(from.fd)
    closeSync(to.fd)
  })
  return { bytes, from, to, left, right }
}
