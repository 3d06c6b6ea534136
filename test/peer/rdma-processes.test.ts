import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { test, type TestContext } from 'node:test'
import type { HookMessages, HookName } from '../../src/hooks.ts'
import type { PeerOptions } from '../../src/peer/options.ts'
import { rdma } from '../../src/transport/rdma/rdma.ts'
import { tcp } from '../../src/transport/tcp/tcp.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { verifyBytes } from '../support/verify.ts'
import { order, softLibrary } from '../transport/rdma/soft-device.ts'
import { startPeer, waitFor } from './start-peer.ts'

const mib = 1024 * 1024
const library = softLibrary()

interface Parent {
  readonly process: ChildProcess
  readonly id: string
  readonly hostId: string
  /** Its main thread stands still for so long from now on; `back` resolves when that is over. */
  block(ms: number): Promise<{ readonly back: Promise<unknown> }>
}

/** Starts a parent in a process of its own, with content in its memory. */
async function parentOf(t: TestContext, scheduler: string, content: Content): Promise<Parent> {
  const { length, seed } = content
  const wish = JSON.stringify({ scheduler, length, seed, library })
  const child = fork(new URL('rdma-parent.js', import.meta.url), [wish])
  cleanup(t, () => void child.kill('SIGKILL'))
  const { id, hostId } = await said(child, 'ready')
  return {
    process: child,
    id: id ?? '',
    hostId: hostId ?? '',
    block: async (ms) => {
      const blocking = said(child, 'blocking')
      const back = said(child, 'back')
      child.send(ms)
      await blocking
      return { back }
    },
  }
}

async function said(
  child: ChildProcess,
  what: string,
): Promise<{ readonly is: string; readonly id?: string; readonly hostId?: string }> {
  for (;;) {
    const [message] = (await once(child, 'message')) as [{ is: string }]
    if (message.is === what) return message
  }
}

function heard<N extends HookName>(t: TestContext, name: N): HookMessages[N][] {
  const messages: HookMessages[N][] = []
  const note = (message: unknown): void => {
    messages.push(message as HookMessages[N])
  }
  subscribe(name, note)
  t.after(() => unsubscribe(name, note))
  return messages
}

function fast(options: PeerOptions = {}): PeerOptions {
  return { store: 'memory', transports: [rdma({ library }), tcp()], ...options }
}

test('Between two processes bytes() comes over RDMA, also while the main thread of the parent stands still', async (t) => {
  const content = new Content(160 * mib, 31)
  const hub = await startPeer(t)
  const parent = await parentOf(t, hub.schedulerAddress, content)
  // So that there is something left to read when the parent stands still.
  const limits = { downloadBytesPerSecond: 60 * mib, concurrency: 4 }
  const child = await startPeer(t, fast({ scheduler: hub.schedulerAddress, limits }))
  const kept = heard(t, 'dragonfly-peer:piece:kept')
  const downloading = child.download({ task: parent.id }).bytes()
  await waitFor(() => kept.length >= 12)
  const { back } = await parent.block(1000)
  const before = kept.length
  await back
  const during = kept.length - before
  assert.ok(during >= 5, `${during} pieces came while it stood still`)
  verifyBytes(await downloading, content)
  assert.deepEqual(new Set(kept.map(({ transport }) => transport)), new Set(['rdma']))
})

test('A parent that is killed in the middle of a read is left when reads have stood still for 1.5 s', async (t) => {
  const content = new Content(64 * mib, 32)
  const hub = await startPeer(t)
  const scheduler = hub.schedulerAddress
  const dying = await parentOf(t, scheduler, content)
  const other = await startPeer(t, fast({ scheduler }))
  await other.write(content.bytes(), { replicas: 1 })
  const child = await startPeer(
    t,
    fast({ scheduler, limits: { downloadBytesPerSecond: 40 * mib } }),
  )
  const kept = heard(t, 'dragonfly-peer:piece:kept')
  const downloading = child.download({ task: dying.id }).bytes()
  const fromDying = ({ parent }: { readonly parent: string }): boolean =>
    parent.startsWith(dying.hostId)
  await waitFor(() => kept.some(fromDying))
  // Reads of it are on their way now, and stay so.
  await order('hold', dying.process.pid)
  const seen = kept.length
  await waitFor(() => kept.length >= Math.min(seen + 1, 15))
  dying.process.kill('SIGKILL')
  const killedAt = performance.now()
  const last = kept.length
  await waitFor(() => kept.length > last)
  // And some for a busy machine.
  assert.ok(performance.now() - killedAt < 1500 + 2000)
  verifyBytes(await downloading, content)
  assert.ok(kept.filter(({ parent }) => !fromDying({ parent })).length > 0)
})

test('A parent that stands still as a whole is left for another one', async (t) => {
  const content = new Content(32 * mib, 33)
  const hub = await startPeer(t)
  const scheduler = hub.schedulerAddress
  const stopped = await parentOf(t, scheduler, content)
  const other = await startPeer(t, fast({ scheduler }))
  await other.write(content.bytes(), { replicas: 1 })
  const limits = { downloadBytesPerSecond: 20 * mib, concurrency: 2 }
  const child = await startPeer(t, fast({ scheduler, limits }))
  const kept = heard(t, 'dragonfly-peer:piece:kept')
  const downloading = child.download({ task: stopped.id }).bytes()
  await waitFor(() => kept.some(({ parent }) => parent.startsWith(stopped.hostId)))
  stopped.process.kill('SIGSTOP')
  cleanup(t, () => void stopped.process.kill('SIGCONT'))
  const begunAt = performance.now()
  verifyBytes(await downloading, content)
  assert.ok(performance.now() - begunAt < 15_000)
  const after = kept.filter(({ parent }) => !parent.startsWith(stopped.hostId))
  assert.ok(after.length > 0)
})
