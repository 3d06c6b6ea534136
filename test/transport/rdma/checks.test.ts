import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  wrongEndpoint,
  wrongLease,
  wrongOffer,
  wrongRequest,
  wrongTtl,
} from '../../../src/transport/rdma/checks.ts'
import type { Lease, LeaseRequest } from '../../../src/transport/rdma/control.ts'
import { taskId } from '../piece-shelf.ts'

const gid = new Uint8Array(16).fill(1)
const endpoint = { num: 17, lid: 0, gid }
const request: LeaseRequest = {
  queuePair: 17,
  mtu: 4096,
  taskId,
  kind: 'standard',
  pieces: [3],
  wait: true,
}
const piece = { number: 3, offset: 0, length: 10, digest: '', address: 4096n, key: 1 }
const lease: Lease = { id: 'a', ttlMs: 10_000, pieces: [piece], more: false }
const block: LeaseRequest = { ...request, pieces: [3, 4], wait: false }

describe('wrongEndpoint()', () => {
  it('takes what can be an address', () => {
    assert.equal(wrongEndpoint(endpoint), undefined)
    assert.equal(wrongEndpoint({ num: 0xff_ffff, lid: 0xffff, gid: new Uint8Array(16) }), undefined)
  })
  for (const [what, change] of [
    ['no number', { num: 0 }],
    ['a number of 25 bits', { num: 1 << 24 }],
    ['half a number', { num: 1.5 }],
    ['a lid of 17 bits', { lid: 65_536 }],
    ['a short gid', { gid: new Uint8Array(15) }],
    ['a long gid', { gid: new Uint8Array(17) }],
    ['no gid', { gid: new Uint8Array(0) }],
    ['no address at all', { gid: new Uint8Array(16) }],
  ] as const) {
    it(`refuses ${what}`, () => assert.ok(wrongEndpoint({ ...endpoint, ...change })))
  }
})

describe('wrongOffer()', () => {
  it('takes the MTUs that there are', () => {
    for (const mtu of [256, 512, 1024, 2048, 4096]) {
      assert.equal(wrongOffer({ mtu, readsMax: 1 }), undefined)
    }
  })
  for (const offer of [
    { mtu: 0, readsMax: 1 },
    { mtu: 1500, readsMax: 1 },
    { mtu: 8192, readsMax: 1 },
    { mtu: 4096, readsMax: 0 },
    { mtu: 4096, readsMax: 256 },
  ]) {
    it(`refuses ${JSON.stringify(offer)}`, () => assert.ok(wrongOffer(offer)))
  }
})

describe('wrongRequest()', () => {
  it('takes what makes sense', () => {
    assert.equal(wrongRequest(request, 4096), undefined)
    const pieces = Array.from({ length: 64 }, (_, number) => number)
    assert.equal(wrongRequest({ ...request, wait: false, pieces }, 4096), undefined)
  })
  const many = Array.from({ length: 65 }, (_, number) => number)
  for (const [what, change] of [
    ['no queue pair', { queuePair: 0 }],
    ['an MTU that there is not', { mtu: 1000 }],
    ['a task id that is none', { taskId: 'abc' }],
    ['no piece', { pieces: [] }],
    ['two pieces to wait for', { pieces: [1, 2] }],
    ['too many pieces', { pieces: many, wait: false }],
    ['a piece twice', { pieces: [1, 1], wait: false }],
    ['a piece beyond all', { pieces: [1 << 20] }],
    ['a negative piece', { pieces: [-1] }],
    ['half a piece', { pieces: [0.5] }],
  ] as const) {
    it(`refuses ${what}`, () => assert.ok(wrongRequest({ ...request, ...change }, 4096)))
  }
  it('refuses an MTU above that of the port', () => assert.ok(wrongRequest(request, 1024)))
})

describe('wrongLease()', () => {
  it('takes what was asked for, and nothing when nothing was waited for', () => {
    assert.equal(wrongLease(lease, request), undefined)
    const both = { ...lease, pieces: [{ ...piece, number: 4 }, piece] }
    assert.equal(wrongLease(both, block), undefined)
    assert.equal(wrongLease({ id: '', ttlMs: 0, pieces: [], more: false }, block), undefined)
  })
  for (const [what, change] of [
    ['no id', { id: '' }],
    ['a long id', { id: 'a'.repeat(65) }],
    ['no time to live', { ttlMs: 0 }],
    ['endless time to live', { ttlMs: 2 ** 32 - 1 }],
    ['no piece', { pieces: [] }],
    ['two pieces', { pieces: [piece, { ...piece, number: 4 }] }],
    ['no bytes', { pieces: [{ ...piece, length: 0 }] }],
    ['a length that is no whole number', { pieces: [{ ...piece, length: 2 ** 60 }] }],
    ['no address', { pieces: [{ ...piece, address: 0n }] }],
    ['bytes past the end of memory', { pieces: [{ ...piece, address: (1n << 64n) - 9n }] }],
    ['a key of 33 bits', { pieces: [{ ...piece, key: 2 ** 32 }] }],
  ] as const) {
    it(`refuses ${what}`, () => assert.ok(wrongLease({ ...lease, ...change }, request)))
  }
  it('refuses a piece of a block that was not asked for, or comes twice', () => {
    assert.ok(wrongLease({ ...lease, pieces: [{ ...piece, number: 5 }] }, block))
    assert.ok(wrongLease({ ...lease, pieces: [piece, piece] }, block))
  })
})

describe('wrongTtl()', () => {
  it('takes a tenth of a second up to an hour', () => {
    assert.equal(wrongTtl(100), undefined)
    assert.equal(wrongTtl(3_600_000), undefined)
    for (const ttlMs of [99, 3_600_001, Number.NaN, 1000.5]) assert.ok(wrongTtl(ttlMs))
  })
})
