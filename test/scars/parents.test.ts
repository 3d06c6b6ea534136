/**
 * Scars: one test for each way in which programs of this kind have lost, mixed up or withheld content, end to end and by name.
 *
 *     this file        slow parents, silent parents, full send buffers
 *     origins.test.ts  cut, wrong, changing and overrun origins
 *     versions.test.ts peers that hold different versions of one content
 *     secrets.test.ts  credentials
 *     kept.test.ts     what lies in a store and is served from there
 */
import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import type { Peer } from '../../src/index.ts'
import { AnswerDecoder, encodeRequest } from '../../src/transport/vortex.ts'
import { startPeer, waitFor } from '../peer/start-peer.ts'
import { cleanup } from '../support/cleanup.ts'
import { origin } from '../support/origin.ts'
import { verifyBytes } from '../support/verify.ts'
import { assertTraffic, onePiece, scene, twoPieces } from '../traps/scene.ts'
import type { RustParent } from '../traps/rust-parent.ts'
import { limit, mib } from './swarm.ts'

test(
  'Scar: a child whose receive buffer is full loses nothing, however long it does not read',
  limit,
  async (t) => {
    const from = await origin(t, { length: 16 * mib })
    const parent = await startPeer(t)
    const { id } = await parent.download(from.url).done
    const { tcpPort } = (parent.explain() as { host: { tcpPort: number } }).host
    const socket = connect(tcpPort, '127.0.0.1')
    cleanup(t, () => {
      socket.destroy()
    })
    socket.pause()
    for (let number = 0; number < 4; number++) {
      socket.write(encodeRequest({ kind: 'standard', taskId: id, number }))
    }
    await waitFor(() => JSON.stringify(parent.explain()).includes('"sending"'))
    await standsStill(parent)
    const bytes = await read(socket, 4 * mib, 4)
    verifyBytes(bytes, from.content)
  },
)

/** Until the parent has written as much as the kernel takes: its transfers are there and nothing was counted as sent for a while. */
async function standsStill(parent: Peer): Promise<void> {
  for (let turn = 0; turn < 200; turn++) {
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
  assert.match(JSON.stringify(parent.explain()), /"sending"/)
}

/** Reads so many answers, one after another. */
async function read(socket: Socket, pieceBytes: number, count: number): Promise<Uint8Array> {
  const whole = new Uint8Array(pieceBytes * count)
  const decoder = new AnswerDecoder()
  let at = 0
  let left = 0
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    let rest: Uint8Array = chunk
    while (rest.length > 0) {
      if (left === 0) {
        const space = decoder.space()
        const taken = Math.min(space.length, rest.length)
        space.set(rest.subarray(0, taken))
        rest = rest.subarray(taken)
        const answer = decoder.fill(taken)
        if (answer === undefined) continue
        assert.ok(answer.is === 'content', JSON.stringify(answer))
        assert.equal(answer.head.offset, at)
        left = answer.head.length
        decoder.reset()
        continue
      }
      const part = rest.subarray(0, left)
      whole.set(part, at)
      at += part.length
      left -= part.length
      rest = rest.subarray(part.length)
    }
    if (at === whole.length) return whole
  }
  throw new Error(`The connection ended after ${at} of ${whole.length} bytes`)
}

/** By default a piece may take a minute to be given up when nobody else has it, or when it trickles. */
const impatient = { limits: { pieceTimeoutMs: 1000 } } as const

/** Sends a piece byte by byte, without an end and without a silence that a time limit would notice. */
function drips(socket: Socket, number: number, parent: RustParent): void {
  socket.write(parent.headOf(number))
  const bytes = parent.bytesOf(number)
  let at = 0
  const timer = setInterval(() => socket.write(bytes.subarray(at, ++at)), 20)
  socket.once('close', () => clearInterval(timer))
}

test('Scar: a slow parent does not block its pieces for ever', limit, async (t) => {
  const { parents, download } = await scene(t, { parents: 2, length: twoPieces, peer: impatient })
  const [slow] = parents
  assert.ok(slow !== undefined)
  slow.onPiece = (socket, number) => drips(socket, number, slow)
  const begun = performance.now()
  assertTraffic(await download({ backToSource: 'never' }), { source: 0, peers: twoPieces })
  assert.ok(performance.now() - begun < 8000)
})

test(
  'Scar: a slow parent that nobody else can stand in for gives way to the origin',
  limit,
  async (t) => {
    const { parents, download } = await scene(t, { peer: impatient })
    const [slow] = parents
    assert.ok(slow !== undefined)
    slow.onPiece = (socket, number) => drips(socket, number, slow)
    const begun = performance.now()
    assertTraffic(await download(), { source: onePiece, peers: 0 })
    assert.ok(performance.now() - begun < 8000)
  },
)

test(
  'Scar: a download does not hang at the last piece, which only a silent parent has',
  limit,
  async (t) => {
    const { parents, download } = await scene(t, { parents: 2, length: twoPieces, peer: impatient })
    const [good, silent] = parents
    assert.ok(good !== undefined && silent !== undefined)
    good.haves.delete(1)
    silent.haves.delete(0)
    silent.onPiece = () => undefined
    const begun = performance.now()
    assertTraffic(await download(), { source: twoPieces - 4 * mib, peers: 4 * mib })
    assert.ok(performance.now() - begun < 6000)
  },
)
