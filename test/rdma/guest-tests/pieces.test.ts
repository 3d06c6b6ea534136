/** Pieces over RDMA with TCP behind it, between two processes. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { ends, lose, lost, timerSlowness, unplug } from './support/machine.ts'
import { nativeRdma } from './support/native-rdma.ts'
import { TransportPair } from './support/transport-pair.ts'

test('10 000 pieces of mixed lengths come over RDMA byte for byte, and nothing is registered after the first ones', async (t) => {
  const pair = await TransportPair.start(t)
  const { pieces, bytes, tookMs, registrationsLater } = await pair.fetch(0, 10_000)
  const { registrations, readsFailed, bytesRead } = nativeRdma().stats()
  t.diagnostic(`${bytes} bytes in ${Math.round(tookMs)} ms, ${registrations} registrations in all`)
  assert.deepEqual([readsFailed, bytesRead], [0, bytes])
  assert.equal(pieces, 10_000)
  assert.deepEqual(pair.fallbacks, [])
  assert.equal(registrationsLater, 0)
})

test('The lease is revoked in the middle: the rest comes over TCP, byte for byte', async (t) => {
  const pair = await TransportPair.start(t)
  let revoked: Promise<unknown> | undefined
  const { pieces } = await pair.fetch(0, 600, (done) => {
    if (done === 200) revoked = pair.far.ask('revoke', undefined)
  })
  await revoked
  assert.equal(pieces, 600)
  assert.ok(pair.fallbacks.length > 0)
  t.diagnostic(reasons(pair))
})

test('The link goes down in the middle: the rest comes over TCP, byte for byte', async (t) => {
  const pair = await TransportPair.start(t)
  const { pieces } = await pair.fetch(0, 600, (done) => {
    if (done === 200) unplug(t, ends.child.link)
  })
  assert.equal(pieces, 600)
  assert.ok(pair.fallbacks.length > 0)
  t.diagnostic(reasons(pair))
})

test('1 % of all packets gets lost: all pieces are right', async (t) => {
  const pair = await TransportPair.start(t)
  lose(t, ends.parent.link, 1)
  const { pieces, tookMs } = await pair.fetch(0, 400)
  assert.equal(pieces, 400)
  assert.ok(lost(ends.parent.link) > 0)
  const { length } = pair.fallbacks
  t.diagnostic(`${lost(ends.parent.link)} packets lost, ${length} pieces over TCP, ${tookMs} ms`)
})

test('A parent that is killed is left within two seconds', async (t) => {
  const pair = await TransportPair.start(t)
  let killedAt = 0
  await assert.rejects(
    pair.fetch(0, 10_000, (done) => {
      if (done !== 200) return
      killedAt = performance.now()
      void pair.far.kill()
    }),
    { code: 'PARENT_UNREACHABLE' },
  )
  const tookMs = performance.now() - killedAt
  t.diagnostic(`left after ${Math.round(tookMs)} ms; ${reasons(pair)}`)
  // Half a second is that of timers in the kernel, the rest is work on the emulated processor.
  assert.ok(tookMs < 2000 * timerSlowness, `${tookMs} ms`)
})

/** Each reason once. */
function reasons({ fallbacks }: TransportPair): string {
  const counts = new Map<string, number>()
  for (const { reason } of fallbacks) counts.set(reason, (counts.get(reason) ?? 0) + 1)
  return [...counts].map(([reason, count]) => `${count} × ${reason}`).join('; ')
}
