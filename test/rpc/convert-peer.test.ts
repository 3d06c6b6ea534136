import assert from 'node:assert/strict'
import test from 'node:test'

import { create } from '@bufbuild/protobuf'
import fc from 'fast-check'

import { candidatesOf, parentOf, parentsMax, pieceMessage } from '../../src/rpc/convert-peer.ts'
import { PeerSchema, PieceSchema, TrafficType } from '../../src/rpc/gen/common/v2/common_pb.ts'

const host = { id: 'h', hostname: 'h', ip: '10.0.0.1', port: 4000 }

test('parentOf() skips whoever cannot be asked', () => {
  const cases: readonly [string, object, boolean][] = [
    ['a usable one', { id: 'p', host }, true],
    ['an IPv6 one', { id: 'p', host: { ...host, ip: '2001:db8::1' } }, true],
    ['no id', { id: '', host }, false],
    ['no host', { id: 'p' }, false],
    ['no host id', { id: 'p', host: { ...host, id: '' } }, false],
    ['a name instead of an address', { id: 'p', host: { ...host, ip: 'peer.test' } }, false],
    ['no address', { id: 'p', host: { ...host, ip: '' } }, false],
    ['an address with a zone', { id: 'p', host: { ...host, ip: 'fe80::1%lo' } }, false],
    ['port 0', { id: 'p', host: { ...host, port: 0 } }, false],
    ['a negative port', { id: 'p', host: { ...host, port: -4 } }, false],
    ['port 65536', { id: 'p', host: { ...host, port: 65536 } }, false],
    ['an endless id', { id: 'p'.repeat(5000), host }, false],
  ]
  for (const [name, init, usable] of cases) {
    assert.equal(parentOf(create(PeerSchema, init)) !== undefined, usable, name)
  }
  const seed = create(PeerSchema, { id: 'p', host: { ...host, type: 1 } })
  assert.deepEqual(parentOf(seed), {
    id: 'p',
    hostId: 'h',
    ip: '10.0.0.1',
    port: 4000,
    seed: true,
  })
})

test('candidatesOf() is bounded, and names each peer once', () => {
  const many = Array.from({ length: 10_000 }, (_, at) =>
    create(PeerSchema, { id: `p${at % 5000}`, host }),
  )
  const { parents, messages } = candidatesOf(many)
  assert.equal(parents.length, parentsMax)
  assert.equal(messages.size, parentsMax)
  const twice = candidatesOf([many[0], many[0]].flatMap((peer) => peer ?? []))
  assert.equal(twice.parents.length, 1)
})

test('candidatesOf() takes the length from whoever tells it', () => {
  const peer = (id: string, contentLength: bigint | undefined) =>
    create(PeerSchema, {
      id,
      host,
      ...(contentLength === undefined ? {} : { task: { id: 't', contentLength } }),
    })
  const unknown = 2n ** 64n - 1n
  assert.equal(candidatesOf([peer('a', undefined), peer('b', 5n)]).contentLength, 5)
  assert.equal(candidatesOf([peer('a', unknown), peer('b', 7n)]).contentLength, 7)
  assert.equal(candidatesOf([peer('a', unknown)]).contentLength, undefined)
  assert.equal(candidatesOf([]).contentLength, undefined)
})

test('candidatesOf() keeps the messages for the echo', () => {
  const message = create(PeerSchema, { id: 'a', host, state: 'Running' })
  assert.equal(candidatesOf([message]).messages.get('a'), message)
})

test('pieceMessage() always has cost and time', () => {
  fc.assert(
    fc.property(fc.double(), fc.double(), (costMs, createdAt) => {
      const piece = create(
        PieceSchema,
        pieceMessage({
          piece: { number: 3, offset: 12, length: 4 },
          digest: 'crc32:5',
          traffic: 'peer',
          parentId: 'p',
          costMs,
          createdAt,
        }),
      )
      assert.ok(piece.cost !== undefined && piece.createdAt !== undefined)
      assert.equal(piece.trafficType, TrafficType.REMOTE_PEER)
      assert.equal(piece.parentId, 'p')
    }),
  )
  const fromSource = create(
    PieceSchema,
    pieceMessage({
      piece: { number: 0, offset: 0, length: 4 },
      digest: '',
      traffic: 'source',
      parentId: '',
      costMs: 1,
      createdAt: 2,
    }),
  )
  assert.equal(fromSource.trafficType, TrafficType.BACK_TO_SOURCE)
  assert.equal(fromSource.parentId, undefined)
})
