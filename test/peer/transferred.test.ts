import assert from 'node:assert/strict'
import { test } from 'node:test'
import { origin } from '../support/origin.ts'
import { verifyBytes } from '../support/verify.ts'
import { startPeer } from './start-peer.ts'

test('Download.bytes() may be transferred to a worker: it is fetched anew, and others are served again', async (t) => {
  const from = await origin(t, { length: 9 << 20 })
  const peer = await startPeer(t)
  const joins = { scheduler: peer.schedulerAddress } as const
  const first = await peer.download(from.url).bytes()
  const moved = structuredClone(first, { transfer: [first.buffer as ArrayBuffer] })
  verifyBytes(moved, from.content)
  assert.equal(first.length, 0)
  // What one peer has lost another one fetches, and gives to the first.
  const other = await startPeer(t, joins)
  verifyBytes(await other.download(from.url).bytes(), from.content)
  const again = peer.download(from.url)
  const bytes = await again.bytes()
  verifyBytes(bytes, from.content)
  assert.equal((await again.done).traffic.peers, bytes.length)
  const third = (await startPeer(t, joins)).download(from.url)
  verifyBytes(await third.bytes(), from.content)
  assert.equal((await third.done).traffic.source, 0)
})
