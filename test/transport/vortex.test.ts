import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { TaskKind } from '../../src/task/kind.ts'
import {
  AnswerDecoder,
  type AnswerHead,
  type ContentHead,
  difference,
  digestBytesMax,
  encodeContentHead,
  encodeError,
  encodeRequest,
  errorBytesMax,
  metadataBytesMax,
  parentIdBytesMax,
  RequestDecoder,
} from '../../src/transport/vortex.ts'

const taskId = '5844f27a257287e9b734256bb25603d8005422ced8c0377f15063ec11963b25f'
const kind: fc.Arbitrary<TaskKind> = fc.constantFrom('standard', 'persistent', 'persistentCache')

/** The golden frames of the protocol's description. */
const goldenRequest =
  '2a0000000044' +
  '35383434663237613235373238376539623733343235366262323536303364383030353432326365643863303337376631353036336563313139363362323566' +
  '00000007'
const goldenHead =
  '2b0100000059' +
  '00000055' +
  '00000007' +
  '0000000001c00000' +
  '0000000000400000' +
  '00000010' +
  '63726333323a31393239313533313230' +
  '00000018' +
  '3132372e302e302e312d6c6f63616c686f73742d73656564' +
  '01' +
  '0000000000000002' +
  '0000000068a45480'
const goldenContent: ContentHead = {
  kind: 'standard',
  number: 7,
  offset: 29_360_128,
  length: 4_194_304,
  digest: 'crc32:1929153120',
  parentId: '127.0.0.1-localhost-seed',
  costSeconds: 2,
  createdAtSeconds: 1_755_600_000,
}

const figure = fc.maxSafeNat()
const content: fc.Arbitrary<ContentHead> = fc.record(
  {
    kind,
    number: fc.integer({ min: 0, max: 0xffff_ffff }),
    offset: figure,
    length: figure,
    digest: fc.oneof(
      fc.constant(''),
      fc.integer({ min: 0, max: 0xffff_ffff }).map((sum) => `crc32:${sum}`),
    ),
    parentId: fc.string({ unit: 'grapheme', maxLength: 100 }),
    costSeconds: figure,
    createdAtSeconds: fc.maxSafeInteger(),
  },
  { noNullPrototype: true },
)

/** Feeds the decoder from the bytes as a socket would: what is asked for, in parts. Gives back the answer and how many bytes it took. */
function decode(
  bytes: Uint8Array,
  decoder: AnswerDecoder = new AnswerDecoder(),
  part: () => number = () => Number.POSITIVE_INFINITY,
): { answer: AnswerHead | undefined; taken: number; askedMax: number } {
  let taken = 0
  let askedMax = 0
  for (;;) {
    const space = decoder.space()
    askedMax = Math.max(askedMax, space.length)
    const count = Math.min(space.length, bytes.length - taken, Math.max(1, part()))
    if (count === 0) return { answer: undefined, taken, askedMax }
    space.set(bytes.subarray(taken, taken + count))
    taken += count
    const answer = decoder.fill(count)
    if (answer !== undefined) return { answer, taken, askedMax }
  }
}

describe('encodeRequest()', () => {
  it('makes the golden frame', () => {
    const bytes = encodeRequest({ kind: 'standard', taskId, number: 7 }, 0x2a)
    assert.equal(bytes.toString('hex'), goldenRequest)
  })

  it('refuses what the protocol cannot carry', () => {
    for (const id of ['', 'a'.repeat(63), 'A'.repeat(64), 'a'.repeat(128), 'g'.repeat(64)]) {
      assert.throws(() => encodeRequest({ kind: 'standard', taskId: id, number: 0 }), RangeError)
    }
    assert.throws(() => encodeRequest({ kind: 'standard', taskId, number: 2 ** 32 }), RangeError)
    assert.throws(() => encodeRequest({ kind: 'standard', taskId, number: -1 }), RangeError)
  })
})

describe('RequestDecoder.push()', () => {
  it('decodes what was encoded, wherever it is split', () => {
    fc.assert(
      fc.property(kind, fc.integer({ min: 0, max: 0xffff_ffff }), (taskKind, number) => {
        const request = { kind: taskKind, taskId, number }
        const bytes = encodeRequest(request)
        for (let split = 1; split < bytes.length; split++) {
          const decoder = new RequestDecoder()
          assert.deepEqual(decoder.push(bytes.subarray(0, split)), {
            taken: split,
            asked: undefined,
          })
          const rest = decoder.push(bytes.subarray(split))
          assert.deepEqual(rest, { taken: 74 - split, asked: { is: 'request', request } })
        }
      }),
      { numRuns: 20 },
    )
  })

  it('takes one request at a time', () => {
    const [first, second] = [1, 2].map((number) =>
      encodeRequest({ kind: 'persistent', taskId, number }),
    )
    const both = Buffer.from([...(first ?? []), ...(second ?? [])])
    const decoder = new RequestDecoder()
    const one = decoder.push(both)
    assert.equal(one.taken, 74)
    const two = decoder.push(both.subarray(one.taken))
    assert.ok(two.asked?.is === 'request')
    assert.equal(two.asked.request.number, 2)
  })

  const cases: [string, (bytes: Buffer) => void, string, number][] = [
    ['a content tag', (bytes) => bytes.writeUInt8(1, 1), 'tag', 6],
    ['the cache tag', (bytes) => bytes.writeUInt8(6, 1), 'tag', 6],
    ['the close tag', (bytes) => bytes.writeUInt8(254, 1), 'tag', 6],
    ['a value that is too short', (bytes) => bytes.writeUInt32BE(67, 2), 'request length', 6],
    ['a value without end', (bytes) => bytes.writeUInt32BE(0xffff_ffff, 2), 'request length', 6],
    ['a path as task id', (bytes) => bytes.write('../../etc/passwd', 6), 'task id', 74],
    ['an upper-case task id', (bytes) => bytes.write('ABCDEF', 6), 'task id', 74],
  ]
  for (const [name, change, what, after] of cases) {
    it(`finds ${name} after ${after} bytes`, () => {
      const bytes = encodeRequest({ kind: 'standard', taskId, number: 0 })
      change(bytes)
      const decoder = new RequestDecoder()
      assert.equal(decoder.push(bytes.subarray(0, after - 1)).asked, undefined)
      const { asked } = decoder.push(bytes.subarray(after - 1, after))
      assert.ok(asked?.is === 'wrong')
      assert.equal(asked.what, what)
    })
  }

  it('never throws and never takes more than one request', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 100 })), (chunks) => {
        const decoder = new RequestDecoder()
        for (const chunk of chunks) {
          const { taken, asked } = decoder.push(chunk)
          assert.ok(taken <= 74 && taken <= chunk.length)
          if (asked !== undefined) return
        }
      }),
    )
  })
})

describe('encodeContentHead()', () => {
  it('makes the golden frame', () => {
    assert.equal(encodeContentHead(goldenContent, 0x2b).toString('hex'), goldenHead)
  })

  it('refuses texts beyond their bounds', () => {
    const digest = 'd'.repeat(digestBytesMax + 1)
    assert.throws(() => encodeContentHead({ ...goldenContent, digest }), RangeError)
    const parentId = 'p'.repeat(parentIdBytesMax + 1)
    assert.throws(() => encodeContentHead({ ...goldenContent, parentId }), RangeError)
  })

  it('refuses figures that the wire has no place for', () => {
    assert.throws(() => encodeContentHead({ ...goldenContent, offset: -1 }), RangeError)
    assert.throws(() => encodeContentHead({ ...goldenContent, number: 2 ** 32 }), RangeError)
  })
})

describe('AnswerDecoder', () => {
  it('decodes the golden frame and takes no byte of the content', () => {
    const bytes = Buffer.concat([Buffer.from(goldenHead, 'hex'), Buffer.alloc(5000, 0xcc)])
    const { answer, taken } = decode(bytes)
    assert.deepEqual(answer, { is: 'content', head: goldenContent })
    assert.equal(taken, goldenHead.length / 2)
  })

  it('decodes what was encoded, in any parts, one after another', () => {
    const decoder = new AnswerDecoder()
    fc.assert(
      fc.property(content, fc.infiniteStream(fc.integer({ min: 1, max: 60 })), (head, parts) => {
        decoder.reset()
        const bytes = Buffer.concat([encodeContentHead(head), Buffer.from('content')])
        const { answer, taken } = decode(bytes, decoder, () => Number(parts.next().value))
        assert.deepEqual(answer, { is: 'content', head })
        assert.equal(taken, bytes.length - 7)
      }),
    )
  })

  it('decodes the golden frame when it is split at every byte', () => {
    const bytes = Buffer.from(goldenHead, 'hex')
    for (let split = 1; split < bytes.length; split++) {
      const decoder = new AnswerDecoder()
      assert.equal(decode(bytes.subarray(0, split), decoder).answer, undefined)
      const { answer } = decode(bytes.subarray(split), decoder)
      assert.deepEqual(answer, { is: 'content', head: goldenContent })
    }
  })

  it('decodes errors', () => {
    const names = ['unknown', 'invalid argument', 'not found', 'internal', 'reserved code 4']
    names.forEach((name, code) => {
      const { answer } = decode(encodeError(code, 'no way'))
      assert.deepEqual(answer, { is: 'refused', code, reason: `${name}: no way` })
    })
    assert.deepEqual(decode(encodeError(2, '')).answer, {
      is: 'refused',
      code: 2,
      reason: 'not found: ',
    })
  })

  it('makes foreign error texts short and harmless', () => {
    const { answer } = decode(encodeError(3, `a\u001b[31m\r\nb\u202ec${'x'.repeat(4000)}`))
    assert.ok(answer?.is === 'refused')
    assert.match(answer.reason, /^internal: a \[31m b cx+$/)
    assert.ok(answer.reason.length < 300)
    assert.throws(() => encodeError(3, 'x'.repeat(errorBytesMax + 1)), RangeError)
  })

  const cases: [string, (bytes: Buffer) => void, string][] = [
    ['a request tag', (bytes) => bytes.writeUInt8(0, 1), 'tag'],
    ['the cache content tag', (bytes) => bytes.writeUInt8(7, 1), 'tag'],
    ['an answer without end', (bytes) => bytes.writeUInt32BE(0xffff_ffff, 2), 'answer length'],
    ['an answer that is too short', (bytes) => bytes.writeUInt32BE(48, 2), 'answer length'],
    ['one byte too much', (bytes) => bytes.writeUInt32BE(5 + metadataBytesMax, 2), 'answer length'],
    ['metadata without end', (bytes) => bytes.writeUInt32BE(0xffff_ffff, 6), 'metadata length'],
    ['a digest without end', (bytes) => bytes.writeUInt32BE(0xffff_ffff, 30), 'digest length'],
    ['a digest over the parent id', (bytes) => bytes.writeUInt32BE(17, 30), 'parent id length'],
    ['a parent id that is too short', (bytes) => bytes.writeUInt32BE(23, 50), 'parent id length'],
    ['control characters', (bytes) => bytes.writeUInt8(10, 36), 'digest'],
    ['a 54 bit offset', (bytes) => bytes.writeBigUInt64BE(2n ** 53n, 14), 'offset'],
    ['a 64 bit length', (bytes) => bytes.writeBigUInt64BE(2n ** 64n - 1n, 22), 'length'],
  ]
  for (const [name, change, what] of cases) {
    it(`finds ${name}`, () => {
      const bytes = Buffer.from(goldenHead, 'hex')
      change(bytes)
      const { answer } = decode(bytes)
      assert.ok(answer?.is === 'wrong', JSON.stringify(answer))
      assert.equal(answer.what, what)
    })
  }

  it('finds an error without end or without a code', () => {
    for (const length of [0, errorBytesMax + 2, 0xffff_ffff]) {
      const bytes = encodeError(2, '')
      bytes.writeUInt32BE(length, 2)
      assert.equal(decode(bytes).answer?.is, 'wrong')
    }
  })

  it('never throws for any bytes and never asks for more than its bound', () => {
    const tag = fc.constantFrom(1, 3, 5, 255)
    const near = fc
      .tuple(tag, fc.integer({ min: 0, max: 120 }), fc.uint8Array({ maxLength: 160 }))
      .map(([tagByte, length, value]) => Buffer.from([0, tagByte, 0, 0, 0, length, ...value]))
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), near), (bytes) => {
        const { askedMax } = decode(bytes)
        assert.ok(askedMax <= 4 + metadataBytesMax)
      }),
      { numRuns: 2000 },
    )
    fc.assert(
      fc.property(fc.nat({ max: goldenHead.length / 2 - 1 }), fc.nat({ max: 255 }), (at, byte) => {
        const bytes = Buffer.from(goldenHead, 'hex')
        bytes.writeUInt8(byte, at)
        decode(bytes)
      }),
      { numRuns: 2000 },
    )
  })

  it('refuses more bytes than it asked for', () => {
    assert.throws(() => new AnswerDecoder().fill(7), RangeError)
    assert.throws(() => new AnswerDecoder().fill(-1), RangeError)
  })
})

describe('difference()', () => {
  const piece = { number: 7, offset: 29_360_128, length: 4_194_304 }
  it('says nothing about the right answer', () => {
    assert.equal(difference(goldenContent, { kind: 'standard', piece }), undefined)
  })
  for (const [what, asked] of [
    ['task kind', { kind: 'persistent', piece }],
    ['piece number', { kind: 'standard', piece: { ...piece, number: 8 } }],
    ['piece offset', { kind: 'standard', piece: { ...piece, offset: 0 } }],
    ['piece length', { kind: 'standard', piece: { ...piece, length: 4_194_303 } }],
  ] as const) {
    it(`finds another ${what}`, () => {
      assert.equal(difference(goldenContent, asked)?.what, what)
    })
  }
})
