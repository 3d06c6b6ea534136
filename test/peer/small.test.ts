import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { PerformanceObserver } from 'node:perf_hooks'
import { type TestContext, test } from 'node:test'
import type { Peer } from '../../src/peer/peer.ts'
import { type Origin, origin } from '../support/origin.ts'
import { runsOf, startPeer, waitFor } from './start-peer.ts'

const lengths = [1, 4096, 65_536, 1024 * 1024] as const

/** A peer that keeps tasks, one that fetches them, and where they come from. */
async function scene(t: TestContext): Promise<{
  readonly holder: Peer
  readonly child: Peer
  readonly origins: readonly Origin[]
}> {
  const origins = await Promise.all(lengths.map((length) => origin(t, { length })))
  const holder = await startPeer(t)
  const child = await startPeer(t, { scheduler: holder.schedulerAddress })
  return { holder, child, origins }
}

function urlsOf(origins: readonly Origin[], name: string, count: number): string[] {
  return Array.from(
    { length: count },
    (_, at) => origins[at % origins.length]?.urlOf(`/${name}-${at}`) ?? '',
  )
}

async function hold(holder: Peer, urls: readonly string[]): Promise<void> {
  await Promise.all(urls.map((url) => holder.download(url).done))
}

const never = { backToSource: 'never' } as const

test('A small task waits for no timer, from a peer, from the origin, or kept', async (t) => {
  const { holder, child, origins } = await scene(t)
  const urls = urlsOf(origins, 'kept', 16)
  await hold(holder, urls)
  const [first = '', ...others] = urls
  // Connections are made, and wasm is compiled.
  await child.download(first, never).bytes()
  const own = urlsOf(origins, 'own', 8)
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
  try {
    for (const url of others) await child.download(url, never).done
    for (const url of others) await child.download(url, never).bytes()
    for (const url of own) await child.download(url).done
  } finally {
    t.mock.timers.reset()
  }
  assert.equal(child.usage().disk?.tasks, others.length + own.length)
})

test('A small task costs three calls and no connection, and the origin two requests', async (t) => {
  const { holder, child, origins } = await scene(t)
  const urls = urlsOf(origins, 'kept', 40)
  await hold(holder, urls)
  const [first = '', ...others] = urls
  await child.download(first, never).done
  let streams = 0
  let sessions = 0
  const observer = new PerformanceObserver((list) => {
    for (const { name } of list.getEntries()) {
      if (name === 'Http2Stream') streams++
      else sessions++
    }
  })
  observer.observe({ entryTypes: ['http2'] })
  try {
    for (const url of others) await child.download(url, never).done
    // Streams of the last task are still being ended: the child tells the scheduler that it is done.
    const calls = others.length * 3
    await waitFor(() => streams >= calls * 2 - 2)
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
    // Both sides of each call are in this process. Hosts may be announced meanwhile.
    assert.ok(streams <= (calls + 4) * 2, `${streams / 2} calls for ${others.length} tasks`)
    assert.equal(sessions, 0)
  } finally {
    observer.disconnect()
  }
  const before = origins.map(({ requests }) => requests.length)
  const own = urlsOf(origins, 'own', lengths.length)
  for (const url of own) await child.download(url).done
  for (const [at, { requests }] of origins.entries()) {
    assert.ok(requests.length - (before[at] ?? 0) <= 2, `${requests.length} requests`)
  }
})

test('Small tasks leave no descriptor behind, one after another and 200 at once', async (t) => {
  const { holder, child, origins } = await scene(t)
  const urls = urlsOf(origins.slice(0, 2), 'kept', 300)
  await hold(holder, urls)
  // A store keeps 64 descriptors that nobody uses: after the first tasks it has them.
  const [some, more, many] = [urls.slice(0, 80), urls.slice(80, 100), urls.slice(100)]
  for (const url of some) await child.download(url, never).done
  const before = descriptors()
  for (const url of more) await child.download(url, never).done
  assert.ok(descriptors() <= before + 4, `${descriptors()} descriptors, ${before} before`)
  await Promise.all(many.map((url) => child.download(url, never).done))
  // What was made for many at once is closed soon.
  await waitFor(() => descriptors() <= before + 24)
  assert.equal(child.usage().disk?.tasks, urls.length)
  await waitFor(() => runsOf(child).length === 0)
})

function descriptors(): number {
  return existsSync('/proc/self/fd') ? readdirSync('/proc/self/fd').length : 0
}
