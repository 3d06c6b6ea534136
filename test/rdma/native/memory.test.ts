import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import test from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { collect, fill, MiB, nativeRdma, openPort, outcome, until } from './rig.ts'

const native = nativeRdma()

test('allocate() gives zeroed memory aligned to 2 MiB, of any length', async () => {
  const { context } = await openPort(native)
  const domain = await native.domain(context)
  for (const bytes of [1, 4095, 4096, 4097, 2 * MiB - 1, 2 * MiB, 2 * MiB + 1, 64 * MiB]) {
    const buffer = await native.allocate(bytes)
    assert.equal(buffer.byteLength, bytes)
    assert.ok(buffer instanceof ArrayBuffer)
    assert.ok(Buffer.from(buffer).equals(Buffer.alloc(bytes)))
    const registration = await native.register(domain, buffer, 0, bytes, 'remoteRead')
    assert.equal(registration.address % BigInt(2 * MiB), 0n, `${bytes}`)
    assert.equal(registration.byteLength, bytes)
  }
  await native.close(context)
})

test('allocate() counts what is alive, and gives it back with the last view', async () => {
  await collect()
  await until(() => native.stats().live.regions === 0, 'no region')
  let buffer: ArrayBuffer | undefined = await native.allocate(3 * MiB)
  assert.equal(native.stats().live.regions, 1)
  assert.equal(native.stats().live.regionBytes, 3 * MiB)
  assert.equal(buffer.byteLength, 3 * MiB)
  buffer = undefined
  await until(async () => {
    await collect()
    return native.stats().live.regions === 0
  }, 'the region is freed')
  assert.equal(native.stats().live.regionBytes, 0)
})

test('allocate() rejects with ERR_RDMA_MEMORY where there is no more, and takes nothing then', async () => {
  const program = fileURLToPath(new URL('full-memory.js', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [program])
  const refused = 'ERR_RDMA_MEMORY 12'
  assert.equal(stdout, `${refused}, ${refused}, ${refused}, done; 1\n`)
})

test('isAllocated() knows its memory, and no other', async () => {
  const buffer = await native.allocate(MiB)
  assert.equal(native.isAllocated(buffer), true)
  const others = [new ArrayBuffer(8), new ArrayBuffer(0), new SharedArrayBuffer(8), buffer.slice(0)]
  for (const other of others) assert.equal(native.isAllocated(other), false)
  assert.equal(native.isAllocated(buffer), true)
})

test('view() gives another thread the same memory, which outlives both sides', async () => {
  await collect()
  await until(() => native.stats().live.regions === 0, 'no region')
  let memory: Uint8Array | undefined = new Uint8Array(await native.allocate(MiB))
  fill(memory as Uint8Array<ArrayBuffer>)
  const sum = memory.reduce((all, byte) => all + byte, 0)
  const worker = new Worker(new URL('view-worker.js', import.meta.url), {
    workerData: native.share(memory.buffer as ArrayBuffer),
  })
  const said = await new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  assert.deepEqual(said, { sum, allocated: true })
  assert.equal(memory[5], 77)
  memory = undefined
  await collect()
  assert.equal(native.stats().live.regions, 1)
  await worker.terminate()
  await until(async () => {
    await collect()
    return native.stats().live.regions === 0
  }, 'the region is freed')
})

test('A registration keeps memory whose view is gone, and a view keeps memory that is deregistered', async () => {
  await collect()
  await until(() => native.stats().live.regions === 0, 'no region')
  const { context } = await openPort(native)
  const domain = await native.domain(context)
  const registration = await (async () => {
    const buffer = await native.allocate(MiB)
    return native.register(domain, buffer, 0, MiB, 'remoteRead')
  })()
  await collect()
  await collect()
  assert.equal(native.stats().live.regions, 1)
  await native.deregister(registration)
  await until(() => native.stats().live.regions === 0, 'the region is freed')
  const buffer = await native.allocate(MiB)
  const second = await native.register(domain, buffer, 0, MiB, 'remoteRead')
  await native.deregister(second)
  new Uint8Array(buffer).fill(1)
  assert.equal(native.isAllocated(buffer), true)
  await native.close(context)
})

test('register() takes overlapping parts, again and again', async () => {
  const { context } = await openPort(native)
  const domain = await native.domain(context)
  const buffer = await native.allocate(MiB)
  const before = native.stats().registrations
  const parts = await Promise.all(
    Array.from({ length: 20 }, (_, at) =>
      native.register(domain, buffer, at * 1001, MiB - at * 2002, at % 2 ? 'local' : 'remoteRead'),
    ),
  )
  // Where others have no access, a key for them may be missing.
  const remote = parts.filter((_, at) => at % 2 === 0).map(({ remoteKey }) => remoteKey)
  assert.equal(new Set(remote).size, 10)
  const [first] = parts
  assert.ok(first !== undefined)
  for (const [at, { address }] of parts.entries()) {
    assert.equal(address, first.address + BigInt(at * 1001))
  }
  assert.equal(native.stats().registrations, before + 20)
  assert.equal(native.stats().live.registrations, 20)
  await Promise.all(parts.map((part) => native.deregister(part)))
  assert.equal(native.stats().live.registrations, 0)
  assert.equal(await outcome(native.deregister(first)), 'ERR_RDMA_CLOSED')
  await native.close(context)
})
