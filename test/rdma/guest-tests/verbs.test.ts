/** The addon on verbs of a real kernel: two processes, each at its end of the cable. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { until } from '../../transport/until.ts'
import { ends, lose, lost, plugIn, slowness, timerSlowness, unplug } from './support/machine.ts'
import { nativeRdma } from './support/native-rdma.ts'
import { VerbsPair, window } from './support/verbs-pair.ts'

const native = nativeRdma()
const partBytes = 256 * 1024

/** `ibv_wc_status` */
const sendFailed = 2
const flushed = 5
const remoteAccess = 10
const retriesExceeded = 12
/** `ibv_event_type` */
const portActive = 9
const portError = 10

test('read() brings what lies in another process, byte for byte, with one registration', async (t) => {
  const pair = await VerbsPair.open(t)
  const { registrations } = native.stats()
  for (const bytes of [4 * 1024 * 1024, partBytes, 100_003]) await pair.readAll(bytes)
  assert.equal(native.stats().registrations, registrations)
})

test('read() goes on while the main thread of the other process does something else for a second', async (t) => {
  const pair = await VerbsPair.open(t)
  await pair.far.ask('block', 1000 * slowness)
  const begin = performance.now()
  await pair.readAll(partBytes)
  const tookMs = performance.now() - begin
  assert.ok(tookMs < 1000 * slowness, `${tookMs} ms`)
})

test('read() of memory that is deregistered meanwhile fails', async (t) => {
  const pair = await VerbsPair.open(t)
  const { statuses } = await readUntilFailure(pair, () => pair.far.ask('deregister', undefined))
  // A read that is being answered at that moment gets no answer any more from this kernel, instead of a refusal.
  assert.ok(statuses[0] === remoteAccess || statuses[0] === retriesExceeded, statuses.join())
  assert.ok(
    statuses.slice(1).every((status) => status === flushed),
    statuses.join(),
  )
  await pair.connect()
  await assert.rejects(pair.read(0, partBytes), { code: 'ERR_RDMA_TRANSFER', status: remoteAccess })
})

test('read() from a process that was killed ends with status 12 within two seconds', async (t) => {
  const pair = await VerbsPair.open(t)
  const { statuses, tookMs } = await readUntilFailure(pair, () => pair.far.kill())
  assert.equal(statuses[0], retriesExceeded)
  assert.ok(
    statuses.slice(1).every((status) => status === flushed),
    statuses.join(),
  )
  // Half a second is that of timers in the kernel, the rest is work on the emulated processor.
  assert.ok(tookMs < 2000 * timerSlowness, `${tookMs} ms`)
  t.diagnostic(`noticed after ${Math.round(tookMs)} ms`)
})

test('A link that goes down is told as an event, ends the reads, and can be used again when it is back', async (t) => {
  const pair = await VerbsPair.open(t)
  const { link } = ends.child
  const { statuses } = await readUntilFailure(pair, () => unplug(t, link))
  // Whether the packet could not be sent, or nobody answered it.
  assert.ok(statuses[0] === sendFailed || statuses[0] === retriesExceeded, statuses.join())
  await until('port error', () => pair.events.some(({ type }) => type === portError))
  await plugIn(link)
  await until('port active', () => pair.events.some(({ type }) => type === portActive))
  await pair.connect()
  await pair.readAll(partBytes)
})

test('read() is right also when 1 % of all packets get lost', async (t) => {
  const pair = await VerbsPair.open(t)
  lose(t, ends.parent.link, 1)
  await pair.readAll(partBytes)
  assert.ok(lost(ends.parent.link) > 0)
  t.diagnostic(`${lost(ends.parent.link)} packets were lost`)
})

/** Reads without a pause; when that runs, does something, and goes on until reads fail. Their statuses, and how long after it the first one failed. */
async function readUntilFailure(
  pair: VerbsPair,
  during: () => Promise<unknown> | void,
): Promise<{ readonly statuses: readonly number[]; readonly tookMs: number }> {
  const statuses: number[] = []
  let done = 0
  let failedAt = 0
  const worker = async (): Promise<void> => {
    while (statuses.length === 0) {
      try {
        await pair.read((done % 32) * partBytes, partBytes)
        done++
      } catch (error) {
        if (statuses.length === 0) failedAt = performance.now()
        statuses.push((error as { readonly status: number }).status)
      }
    }
  }
  const workers = Array.from({ length: window }, worker)
  await until('reads flow', () => done > window, 2000 * slowness)
  const begin = performance.now()
  await during()
  await Promise.all(workers)
  return { statuses, tookMs: failedAt - begin }
}
