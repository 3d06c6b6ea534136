import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createClient } from '@connectrpc/connect'
import { type Channel, type ChannelOptions, openChannel } from '../../src/rpc/channel.ts'
import { Scheduler } from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { rpcError } from '../../src/rpc/rpc-error.ts'
import { cleanup, type Ending } from '../support/cleanup.ts'
import { bench } from './bench.ts'
import { until } from './wire.ts'

function pinging(
  t: Ending,
  port: number,
  more: Partial<ChannelOptions> = {},
): { readonly channel: Channel; ping(): Promise<void> } {
  const channel = openChannel({ address: `127.0.0.1:${port}`, ...more })
  cleanup(t, () => channel.close())
  const ping = (): Promise<void> => channel.ping?.() ?? Promise.reject(new TypeError('No ping'))
  return { channel, ping }
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
  const count = (): number => on.tap.frames.filter(({ type }) => type === 'PING').length
  await until(() => count() > 0, 'a ping')
  const before = count()
  await Promise.all(Array.from({ length: 40 }, ping))
  assert.ok(count() - before <= 2, `${count() - before} pings and answers`)
})

for (const pingsMax of [undefined, 5]) {
  test(`Channel.ping() asks ${pingsMax ?? 2} times at most while nothing but answers to pings comes`, async (t) => {
    const on = await bench(t)
    const { channel, ping } = pinging(t, on.tap.port, pingsMax === undefined ? {} : { pingsMax })
    const acknowledged = (): number =>
      on.tap.frames.filter(({ type, flags }) => type === 'PING' && (flags & 1) === 1).length
    const most = pingsMax ?? 2
    for (let count = 0; count < most + 3; count++) await ping()
    assert.equal(acknowledged(), most)
    await createClient(Scheduler, channel).deleteHost({ hostId: 'host' })
    for (let count = 0; count < most + 3; count++) await ping()
    assert.equal(acknowledged(), 2 * most)
  })
}

test('Channel.ping() waits for a server that is silent, and rejects when the channel closes', async (t) => {
  const on = await bench(t)
  const { channel, ping } = pinging(t, on.tap.port)
  await ping()
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

test('Channel.ping() rejects where nobody listens', async (t) => {
  const on = await bench(t)
  on.server.destroy()
  await on.server.close()
  await assert.rejects(pinging(t, on.port).ping(), unavailable)
})
