import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type Channel, type ChannelOptions, openChannel } from '../../src/rpc/channel.ts'
import { rpcError } from '../../src/rpc/rpc-error.ts'
import { cleanup, type Ending } from '../support/cleanup.ts'
import { type Bench, bench } from './bench.ts'
import type { Frame } from './wire.ts'

function pinging(
  t: Ending,
  port: number,
  options: Omit<ChannelOptions, 'address'> = {},
): { readonly channel: Channel; ping(): Promise<void> } {
  const channel = openChannel({ address: `127.0.0.1:${port}`, ...options })
  cleanup(t, () => channel.close())
  const ping = (): Promise<void> => channel.ping?.() ?? Promise.reject(new TypeError('No ping'))
  return { channel, ping }
}

/** Settings that the server has acknowledged, those of the beginning among them. */
function acknowledged({ tap }: Bench): number {
  return tap.frames.filter(({ type, flags }) => type === 'SETTINGS' && (flags & 1) === 1).length
}

const unavailable = (error: unknown): boolean => rpcError(error).is === 'unavailable'

test('Channel.ping() connects by itself, and resolves when the server answers', async (t) => {
  const on = await bench(t)
  const { ping } = pinging(t, on.port)
  await ping()
  await ping()
})

test('Channel.ping() asks once for many who ask at the same time', async (t) => {
  const on = await bench(t)
  const { ping } = pinging(t, on.tap.port)
  await ping()
  const before = acknowledged(on)
  await Promise.all(Array.from({ length: 40 }, ping))
  assert.equal(acknowledged(on) - before, 1)
})

test('Channel.ping() asks every time, and never with a PING, of which Go servers take few', async (t) => {
  const on = await bench(t)
  const { ping } = pinging(t, on.tap.port)
  await ping()
  const before = acknowledged(on)
  for (let count = 0; count < 20; count++) await ping()
  assert.equal(acknowledged(on) - before, 20)
  assert.ok(on.tap.frames.every(({ type }) => type !== 'PING'))
})

test('Channel.ping() waits for a server that is silent, and rejects when the channel closes', async (t) => {
  const on = await bench(t)
  const { channel, ping } = pinging(t, on.tap.port)
  for (let count = 0; count < 5; count++) await ping()
  on.tap.pause()
  let settled = false
  const waiting = ping().finally(() => {
    settled = true
  })
  const rejected = assert.rejects(waiting, unavailable)
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal(settled, false)
  channel.close()
  await rejected
  await assert.rejects(ping(), unavailable)
})

test('Channel.ping() ends a connection that gives no sign of life in time, and the next call has a new one', async (t) => {
  const on = await bench(t)
  const { ping } = pinging(t, on.tap.port, { pingTimeoutMs: 300 })
  await ping()
  // What is sent over this connection goes nowhere from now on. New ones work.
  on.tap.pause()
  await assert.rejects(ping(), unavailable)
  await ping()
})

test('Channel.ping() keeps a connection whose sign of life came while this process stood still', async (t) => {
  const on = await bench(t)
  const { channel, ping } = pinging(t, on.tap.port, { pingTimeoutMs: 200 })
  await ping()
  let lost = false
  channel.onLost?.(() => {
    lost = true
  })
  const frames = on.tap.frames as Frame[]
  let stood = false
  // It is handed on when this has returned, and read by the channel when the time has long been over.
  frames.push = (...seen) => {
    stood ||= seen.some(({ type }) => type === 'SETTINGS')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 600)
    return Array.prototype.push.apply(frames, seen)
  }
  await ping()
  for (let turn = 0; turn < 10; turn++) await nextTurn()
  assert.deepEqual([stood, lost], [true, false])
})

test('Channel.ping() rejects where nobody listens', async (t) => {
  const on = await bench(t)
  on.server.destroy()
  await on.server.close()
  await assert.rejects(pinging(t, on.port).ping(), unavailable)
})
