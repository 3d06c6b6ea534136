import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { describe, it } from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { encodeError } from '../../src/transport/vortex.ts'
import type { RustParent } from './rust-parent.ts'
import { assertTraffic, scene, onePiece } from './scene.ts'

const limit = { timeout: 30_000 }

type Sends = (socket: Socket, number: number, parent: RustParent) => void

/** Sends the right bytes behind another head. */
function heads(more: Parameters<RustParent['headOf']>[1]): Sends {
  return (socket, number, parent) => {
    socket.end(Buffer.concat([parent.headOf(number, more), parent.bytesOf(number)]))
  }
}

/** Sends so much of the right answer. */
function part(socket: Socket, number: number, parent: RustParent, share: number): void {
  const bytes = parent.bytesOf(number)
  socket.write(parent.headOf(number))
  socket.write(bytes.subarray(0, Math.floor(bytes.length * share)))
}

function spoilt(parent: RustParent, number: number): Buffer {
  const bytes = Buffer.from(parent.bytesOf(number))
  bytes[bytes.length >> 1] = 255 - (bytes[bytes.length >> 1] ?? 0)
  return bytes
}

const bad: readonly (readonly [string, Sends])[] = [
  [
    'sends other bytes under the right digest',
    (socket, number, parent) => {
      socket.end(Buffer.concat([parent.headOf(number), spoilt(parent, number)]))
    },
  ],
  ['sends another piece', heads({ number: 7 })],
  ['sends it for another place', heads({ offset: 1 })],
  ['sends less than the piece', heads({ length: 100 })],
  ['sends more than there is', heads({ length: 2 ** 52 })],
  ['sends a piece of another kind, as between crate versions', heads({ kind: 'persistent' })],
  ['sends a digest of another making', heads({ digest: 'sha256:00' })],
  [
    'says that it has no such piece',
    (socket) => {
      socket.end(encodeError(2, 'not found'))
    },
  ],
  [
    'says that it failed',
    (socket) => {
      socket.end(encodeError(3, 'in-flight piece never finished'))
    },
  ],
  [
    'says something with a code that nobody knows',
    (socket) => {
      socket.end(encodeError(200, ''))
    },
  ],
  [
    'hangs up',
    (socket) => {
      socket.end()
    },
  ],
  [
    'is killed in the middle',
    (socket, number, parent) => {
      part(socket, number, parent, 0.5)
      setImmediate(() => parent.kill())
    },
  ],
  [
    'ends in the middle',
    (socket, number, parent) => {
      part(socket, number, parent, 0.5)
      socket.end()
    },
  ],
  [
    'resets in the middle',
    (socket, number, parent) => {
      part(socket, number, parent, 0.5)
      setImmediate(() => socket.resetAndDestroy())
    },
  ],
  [
    'sends zeros',
    (socket) => {
      socket.end(Buffer.alloc(100_000))
    },
  ],
  [
    'announces metadata without end',
    (socket) => {
      socket.end(Buffer.from('2b01ffffffffffffffff', 'hex'))
    },
  ],
  [
    'answers in HTTP',
    (socket) => {
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')
    },
  ],
]

describe('A parent whose pieces', { concurrency: 64 }, () => {
  for (const [name, sends] of bad) {
    it(`are wrong because it ${name} costs time and nothing else`, limit, async (t) => {
      const both = await scene(t, { parents: 2 })
      const alone = await scene(t)
      for (const { parents } of [both, alone]) {
        const [parent] = parents
        assert.ok(parent !== undefined)
        parent.onPiece = (socket, number) => sends(socket, number, parent)
      }
      const [fromOther, fromOrigin] = await Promise.all([
        both.download({ backToSource: 'never' }),
        alone.download(),
      ])
      assertTraffic(fromOther, { source: 0, peers: onePiece })
      assertTraffic(fromOrigin, { source: onePiece, peers: 0 })
    })
  }

  for (const [name, sends] of [
    ['come without a digest', heads({ digest: '' })],
    ['come from who got them elsewhere', heads({ parentId: 'x'.repeat(1000) })],
    ['are very old, or took ages', heads({ costSeconds: 2 ** 40, createdAtSeconds: -1 })],
    [
      'come one byte after the other at first, and then too many',
      (socket: Socket, number: number, parent: RustParent) => {
        const head = parent.headOf(number)
        for (const byte of head) socket.write(Buffer.from([byte]))
        socket.end(Buffer.concat([parent.bytesOf(number), Buffer.from('surplus')]))
      },
    ],
  ] as const) {
    it(`${name} is a good parent`, limit, async (t) => {
      const { parents, download } = await scene(t)
      const [parent] = parents
      assert.ok(parent !== undefined)
      parent.onPiece = (socket, number) => sends(socket, number, parent)
      assertTraffic(await download({ backToSource: 'never' }), { source: 0, peers: onePiece })
    })
  }

  it('are promised and never come is left for another one', limit, async (t) => {
    const { parents, download } = await scene(t, { parents: 2 })
    const [silent] = parents
    assert.ok(silent !== undefined)
    silent.onPiece = () => undefined
    const begun = performance.now()
    assertTraffic(await download({ backToSource: 'never' }), { source: 0, peers: onePiece })
    // Nobody else has to wait for the time-out of a piece, which is a minute.
    assert.ok(performance.now() - begun < 15_000)
  })

  it('nobody else has, and which are wrong, are an error in time', limit, async (t) => {
    const { parents, download, from } = await scene(t, {
      peer: { limits: { parentsTimeoutMs: 3000 } },
    })
    const [parent] = parents
    assert.ok(parent !== undefined)
    parent.onPiece = (socket, number) => {
      socket.end(Buffer.concat([parent.headOf(number), spoilt(parent, number)]))
    }
    await assert.rejects(download({ backToSource: 'never' }), (error) =>
      PeerError.is(error, 'NO_PARENTS'),
    )
    assert.deepEqual(from.requests, [])
  })
})
