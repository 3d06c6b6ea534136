import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { constants } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { crc32 } from '../../src/hash/crc32.ts'
import { loadXxhash } from '../../src/hash/xxhash.ts'
import { loadFlow } from '../../src/util/flow.ts'
import { move } from '../../src/util/flow-move.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { gate, prebuild } from '../support/native-build.ts'
import { fdOf, socketPair } from '../support/socket-pair.ts'
import { tempFolder } from '../support/temp-folder.ts'

const flow = loadFlow()
const never = new AbortController().signal
/** More than the pump has threads, so that some wait for others. */
const writers = 8
/** Neither the parts nor where they begin fit the chunks of the pump. */
const partBytes = 3 * 1024 * 1024 + 12_345

interface Scene {
  readonly bytes: Uint8Array
  readonly path: string
  readonly fd: number
  readonly pairs: readonly { readonly left: Socket; readonly right: Socket }[]
}

if (flow !== undefined) {
  test('NativeFlow.receive() writes one file from many sockets at once, each byte to its place', async (t) => {
    const { bytes, path, pairs, fd } = await scene(t)
    const xxhash = await loadXxhash()
    await Promise.all(
      pairs.map(async ({ left, right }, number) => {
        const [position, want] = partOf(bytes, number)
        left.write(want)
        const sums = flow.sums(true)
        for (let at = 0; at < want.length; ) {
          at += await received(right, fd, position + at, want.length - at, sums, never)
        }
        assert.equal(flow.crc(sums), crc32(want))
        assert.equal(flow.xxh64(sums), xxhash.h64(want))
      }),
    )
    assert.ok(readFileSync(path).equals(bytes))
  })

  test('NativeFlow.cancel() ends one that waits for its turn to write, and the others go on', async (t) => {
    const { bytes, path, pairs, fd } = await scene(t)
    let cancelled = 0
    await Promise.all(
      pairs.map(async ({ left, right }, number) => {
        const [position, want] = partOf(bytes, number)
        left.write(want)
        const sums = flow.sums(true)
        const stop = new AbortController()
        for (let at = 0; at < want.length; ) {
          const moved = received(right, fd, position + at, want.length - at, sums, stop.signal)
          if (number === 1) stop.abort()
          else if (number % 2 === 1) setTimeout(() => stop.abort(), number)
          try {
            at += await moved
          } catch (error) {
            assert.equal(error, stop.signal.reason)
            cancelled++
            return
          }
        }
        assert.equal(flow.crc(sums), crc32(want))
      }),
    )
    assert.ok(cancelled > 0, String(cancelled))
    const file = readFileSync(path)
    for (let number = 0; number < writers; number += 2) {
      const [position, want] = partOf(bytes, number)
      assert.ok(file.subarray(position, position + want.length).equals(want), String(number))
    }
  })

  test('NativeFlow.cancel() waits for no file that hangs, but for the one write that is under way', {
    timeout: 20_000,
  }, async (t) => {
    const script = fileURLToPath(new URL('./gated-writers.js', import.meta.url))
    const child = spawn(process.execPath, [script, join(tempFolder(t), 'to'), String(writers)], {
      env: { ...process.env, LD_PRELOAD: gate(), GATE: '0' },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    cleanup(t, async () => void child.kill('SIGKILL'))
    const told: string[] = []
    for await (const line of createInterface(child.stdout)) {
      assert.match(line, new RegExp(`^\\d 0 ${constants.errno.ECANCELED}$`))
      // The last one is in the hands of the kernel.
      if (told.push(line) === writers - 1) break
    }
    child.stdin.end()
    const [code] = (await once(child, 'exit')) as [number]
    assert.equal(code, 0)
    assert.equal(new Set(told.map((line) => line[0])).size, writers - 1)
  })

  test('NativeFlow lets a worker end while some wait for their turn to write', async (t) => {
    const { bytes, pairs, fd } = await scene(t)
    const source = `
      const { workerData, parentPort } = require('node:worker_threads')
      const native = require(workerData.path)
      for (const [at, socket] of workerData.sockets.entries()) {
        native.receive(socket, workerData.fd, at * workerData.length, workerData.length, () => undefined, native.sums(true))
      }
      parentPort.postMessage('begun')
      setInterval(() => undefined, 1000)`
    for (const { left, right } of pairs) {
      left.on('error', () => undefined)
      left.write(bytes)
      right.pause()
    }
    for (let round = 0; round < 5; round++) {
      const worker = new Worker(source, {
        eval: true,
        workerData: {
          path: prebuild(process.arch === 'x64' ? 'linux-x64' : 'linux-arm64', 'flow'),
          sockets: pairs.map(({ right }) => fdOf(right)),
          fd,
          length: partBytes,
        },
      })
      await once(worker, 'message')
      assert.equal(await worker.terminate(), 1)
    }
  })
}

/** A part of the content for each socket, one behind the other. */
function partOf(bytes: Uint8Array, number: number): readonly [number, Uint8Array] {
  const position = number * partBytes
  return [position, bytes.subarray(position, position + partBytes)]
}

/** Bytes that came in one transfer. @throws the reason of the signal */
async function received(
  socket: Socket,
  fd: number,
  position: number,
  length: number,
  sums: Uint8Array,
  signal: AbortSignal,
): Promise<number> {
  assert.ok(flow !== undefined)
  const { receive, cancel } = flow
  const { count, fileError, socketFailed } = await move(
    (done) => receive(fdOf(socket), fd, position, length, done, sums),
    (id) => cancel(id),
    signal,
  )
  assert.deepEqual([fileError, socketFailed], [undefined, false])
  return count
}

async function scene(t: TestContext): Promise<Scene> {
  const length = writers * partBytes
  const path = join(tempFolder(t), 'to')
  writeFileSync(path, '')
  const fd = openSync(path, 'r+')
  const pairs = []
  for (let number = 0; number < writers; number++) pairs.push(await socketPair(t))
  cleanup(t, async () => closeSync(fd))
  return { bytes: new Content(length).bytes(0, length), path, fd, pairs }
}
