import assert from 'node:assert/strict'
import {
  AnswerDecoder,
  type AnswerHead,
  type AskedFor,
  encodeContentHead,
  encodeError,
  encodeRequest,
  errorBytesMax,
  metadataBytesMax,
  RequestDecoder,
} from '../../src/transport/vortex.ts'
import { wrongEndpoint } from '../../src/transport/rdma/checks.ts'
import type { Random } from '../crash/random.ts'
import type { Target } from './target.ts'
import { kinds } from '../../src/task/kind.ts'

const kindNames = Object.keys(kinds) as (keyof typeof kinds)[]

function taskId(random: Random): string {
  return Array.from({ length: 64 }, () => random.below(16).toString(16)).join('')
}

/** All requests in a stream that comes in these parts, up to the first fault. */
function requests(bytes: Uint8Array, part: () => number): AskedFor[] {
  const decoder = new RequestDecoder()
  const found: AskedFor[] = []
  for (let at = 0; at < bytes.length; ) {
    let chunk = bytes.subarray(at, at + part())
    at += chunk.length
    while (chunk.length > 0) {
      const { taken, asked } = decoder.push(chunk)
      assert.ok(taken > 0 && taken <= Math.min(74, chunk.length), `took ${taken}`)
      chunk = chunk.subarray(taken)
      if (asked === undefined) continue
      found.push(asked)
      if (asked.is === 'wrong') return found
    }
  }
  return found
}

/** Requests of children, as a stream: differing splits give the same result. */
const request: Target = {
  name: 'vortex request',
  valid: (random) =>
    Buffer.concat(
      Array.from({ length: 1 + random.below(3) }, () =>
        encodeRequest({
          kind: random.of(kindNames),
          taskId: taskId(random),
          number: random.below(2 ** 32),
        }),
      ),
    ),
  check(bytes, random) {
    const whole = requests(bytes, () => bytes.length)
    assert.deepEqual(
      requests(bytes, () => 1 + random.below(80)),
      whole,
    )
    assert.deepEqual(
      requests(bytes, () => 1),
      whole,
    )
    whole.forEach((asked, at) => {
      if (asked.is === 'wrong') return bounded(asked)
      const again = encodeRequest(asked.request, bytes[at * 74] ?? 0)
      assert.deepEqual(again, Buffer.from(bytes.subarray(at * 74, at * 74 + 74)))
    })
  },
}

/** The first answer in a stream that comes in these parts, and how many bytes it took. */
function answer(
  bytes: Uint8Array,
  part: () => number,
): { readonly head: AnswerHead | undefined; readonly taken: number } {
  const decoder = new AnswerDecoder()
  for (let at = 0; ; ) {
    const space = decoder.space()
    assert.ok(space.length > 0 && space.length <= 6 + 4 + Math.max(metadataBytesMax, errorBytesMax))
    const count = Math.min(space.length, part(), bytes.length - at)
    if (count === 0) return { head: undefined, taken: at }
    space.set(bytes.subarray(at, at + count))
    at += count
    const head = decoder.fill(count)
    if (head !== undefined) return { head, taken: at }
  }
}

/** Answers of parents. */
const response: Target = {
  name: 'vortex answer',
  valid: (random) =>
    random.oneIn(4)
      ? encodeError(random.below(256), 'x'.repeat(random.below(300)))
      : encodeContentHead({
          kind: random.of(kindNames),
          number: random.below(2 ** 32),
          offset: random.below(2 ** 40),
          length: random.below(2 ** 30),
          digest: random.of(['', 'crc32:1', `sha256:${taskId(random)}`]),
          parentId: 'parent-ü-'.repeat(random.below(100)),
          costSeconds: random.below(1000),
          createdAtSeconds: random.below(2 ** 31),
        }),
  check(bytes, random) {
    const whole = answer(bytes, () => bytes.length)
    assert.deepEqual(
      answer(bytes, () => 1 + random.below(40)),
      whole,
    )
    assert.deepEqual(
      answer(bytes, () => 1),
      whole,
    )
    const { head, taken } = whole
    if (head?.is === 'wrong') bounded(head)
    if (head?.is === 'refused') {
      assert.ok(head.reason.length < 300)
      assert.doesNotMatch(head.reason, /\p{Cc}/u)
    }
    if (head?.is !== 'content') return
    // A text that is not UTF-8, and one that is longer than we send, have no way back.
    const { parentId } = head.head
    if (parentId.includes('\ufffd') || Buffer.byteLength(parentId) > 1024) return
    const again = encodeContentHead(head.head, bytes[0] ?? 0)
    // The traffic type says nothing, and is not kept.
    again[taken - 17] = bytes[taken - 17] ?? 0
    assert.deepEqual(again, Buffer.from(bytes.subarray(0, taken)))
  },
}

/** Ends of queue pairs, as they come in a message. */
const endpoint: Target = {
  name: 'rdma endpoint',
  valid: (random) => Uint8Array.from({ length: 24 }, () => random.below(256)),
  check(bytes) {
    const head = Buffer.alloc(8)
    head.set(bytes.subarray(0, 8))
    const num = head.readUInt32BE(0)
    const lid = head.readUInt32BE(4)
    const wrong = wrongEndpoint({ num, lid, gid: bytes.subarray(8) })
    if (wrong !== undefined) return bounded(wrong)
    assert.equal(bytes.length - 8, 16)
  },
}

/** What goes into an error is short, and no bytes of a stranger. */
function bounded(wrong: { readonly expected: string; readonly actual: string }): void {
  assert.ok(wrong.expected.length <= 200 && wrong.actual.length <= 200, JSON.stringify(wrong))
}

export const pieceTargets: readonly Target[] = [request, response, endpoint]
