import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { PeerError } from '../../src/errors.ts'
import { pieceDigest } from '../../src/hash/digest.ts'
import { geometry, pieceAt } from '../../src/task/piece.ts'
import type { Have } from '../../src/task/ports.ts'
import { Versions } from '../../src/task/versions.ts'
import { SimSink } from '../sim/sink.ts'

const cut = geometry(80, 10)
const [v1, v2] = ['1'.repeat(32), '2'.repeat(32)]

interface Start {
  readonly version?: string
  readonly avoid?: readonly string[]
  readonly kept?: readonly number[]
  readonly keepVersion?: (version: string) => Promise<void>
}

class Bench {
  readonly sink: SimSink
  readonly versions: Versions
  readonly others: string[] = []
  readonly mixed: PeerError[] = []
  readonly written: string[] = []

  constructor({ version, avoid = [], kept = [], keepVersion }: Start = {}) {
    this.sink = new SimSink(cut).preset(kept)
    const note = (token: string): Promise<void> => {
      this.written.push(token)
      return keepVersion?.(token) ?? Promise.resolve()
    }
    this.versions = new Versions(
      { sink: this.sink, version, avoid, keepVersion: note },
      {
        onOther: (parent) => this.others.push(parent),
        onMixed: (error) => this.mixed.push(error),
      },
    )
  }

  /** The code of what is wrong with a word; undefined when nothing is. */
  tell(parent: string, number: number, crc?: number, version?: string, fits = true): unknown {
    const endpoint = { ip: '127.0.0.1', tcpPort: 1 }
    const have: Have = {
      ...pieceAt(cut, number),
      endpoint,
      ...(crc === undefined ? {} : { digest: pieceDigest(crc) }),
      ...(version === undefined ? {} : { version }),
    }
    return this.versions.onHave(parent, have, fits)?.code
  }

  /** Whether a piece may be kept. */
  async takes(parent: string, number: number, crc: number): Promise<boolean> {
    try {
      await this.versions.admit(parent, number, pieceDigest(crc))
      return true
    } catch (error) {
      assert.ok(PeerError.is(error, 'ORIGIN_CHANGED'), String(error))
      return false
    }
  }
}

test('Versions.onHave() refuses a parent of another version than the known one', () => {
  const bench = new Bench({ version: v1 })
  assert.equal(bench.tell('a', 0, 7, v1), undefined)
  assert.equal(bench.tell('b', 0, 8, v2), 'ORIGIN_CHANGED')
  assert.equal(bench.tell('b', 1, 7, v1), 'ORIGIN_CHANGED', 'it is not heard again')
})

test('Versions.onHave() takes another cut for another version only where a version is told', () => {
  const bench = new Bench()
  assert.equal(bench.tell('a', 0, 7, v1, false), 'ORIGIN_CHANGED')
  assert.equal(bench.tell('b', 0, 7, undefined, false), undefined, 'others judge it')
})

test('Versions.admit() takes the version of the first piece, and nobody of another from then on', async () => {
  const bench = new Bench()
  bench.tell('a', 0, 7, v1)
  bench.tell('b', 1, 8, v2)
  bench.tell('c', 2, 9, v1)
  assert.equal(await bench.takes('a', 0, 7), true)
  assert.equal(bench.versions.version, v1)
  assert.deepEqual([bench.written, bench.others], [[v1], ['b']])
  assert.equal(await bench.takes('b', 1, 8), false)
  assert.equal(await bench.takes('c', 2, 9), true)
  assert.deepEqual(bench.written, [v1])
})

test('Versions.admit() waits until the version is written down', async () => {
  let written = (): void => undefined
  const promise = new Promise<void>((resolve) => {
    written = resolve
  })
  const bench = new Bench({ keepVersion: () => promise })
  bench.tell('a', 0, 7, v1)
  let taken = 0
  const both = [0, 1].map((number) => bench.takes('a', number, 7).then(() => taken++))
  await new Promise<void>((resolve) => setImmediate(resolve))
  assert.equal(taken, 0)
  written()
  await Promise.all(both)
  assert.equal(taken, 2)
})

test('Versions.admit() rejects when the version cannot be written down', async () => {
  const full = new PeerError('NO_SPACE', 'Full', { path: 'x', needed: 1 })
  const bench = new Bench({ keepVersion: () => Promise.reject(full) })
  bench.tell('a', 0, 7, v1)
  await assert.rejects(bench.versions.admit('a', 0, pieceDigest(7)), full)
})

test('Versions.admit() refuses a piece that is not the one that the parent told of', async () => {
  const bench = new Bench({ version: v1 })
  bench.tell('a', 0, 7, v1)
  bench.tell('a', 1, 8, v1)
  assert.equal(await bench.takes('a', 0, 7), true)
  assert.equal(await bench.takes('a', 1, 9), false)
  assert.equal(await bench.takes('a', 2, 9), false, 'nothing more of it')
  assert.deepEqual(bench.mixed, [], 'what it gave before was of the known version')
})

test('Versions.onHave() refuses a parent that tells something else than before', () => {
  const bench = new Bench()
  assert.equal(bench.tell('a', 0, 7), undefined)
  assert.equal(bench.tell('a', 0, 7), undefined)
  assert.equal(bench.tell('a', 0, 8), 'ORIGIN_CHANGED')
  assert.equal(bench.tell('b', 0, 7, v1), undefined)
  assert.equal(bench.tell('b', 1, 7, v2), 'ORIGIN_CHANGED')
})

test('Versions.admit() takes pieces of parents that tell nothing, as from other programs', async () => {
  for (const version of [undefined, v1]) {
    const bench = new Bench(version === undefined ? {} : { version })
    for (const [at, parent] of ['a', 'b', 'a'].entries()) {
      bench.tell(parent, at)
      assert.equal(await bench.takes(parent, at, at + 7), true)
    }
    assert.deepEqual([bench.written, bench.others, bench.mixed.length], [[], [], 0])
  }
})

test('Versions.admit() refuses an unknown parent when one of the known version tells another digest', async () => {
  const bench = new Bench({ version: v1 })
  bench.tell('known', 0, 7, v1)
  bench.tell('foreign', 0)
  assert.equal(await bench.takes('foreign', 0, 8), false)
  bench.tell('right', 0)
  assert.equal(await bench.takes('right', 0, 7), true)
})

test('Versions finds that pieces are mixed when it learns that an unknown parent was wrong', async () => {
  const bench = new Bench({ version: v1 })
  bench.tell('foreign', 0)
  assert.equal(await bench.takes('foreign', 0, 8), true)
  bench.tell('known', 1, 7, v1)
  assert.equal(await bench.takes('foreign', 1, 9), false)
  assert.equal(bench.mixed.length, 1)
})

test('Versions finds that pieces are mixed when a kept one is not what the known version has', () => {
  const bench = new Bench({ kept: [3] })
  assert.equal(bench.versions.version, undefined)
  bench.versions.claim(v1).catch(() => undefined)
  assert.equal(bench.tell('known', 3, 12_345, v1), undefined)
  assert.equal(bench.mixed.length, 1)
})

test('Versions takes pieces of one of two unknown parents that told of different content', async () => {
  const bench = new Bench()
  bench.tell('a', 0, 7)
  bench.tell('a', 1, 8)
  bench.tell('b', 1, 9)
  bench.tell('b', 2, 7)
  assert.equal(await bench.takes('b', 2, 7), true)
  assert.deepEqual(bench.others, ['a'])
  assert.equal(await bench.takes('a', 0, 7), false)
  assert.equal(bench.mixed.length, 0)
})

test('Versions finds that pieces are mixed when two unknown parents gave some and then differ', async () => {
  const bench = new Bench()
  bench.tell('a', 0, 7)
  bench.tell('b', 1, 8)
  assert.deepEqual([await bench.takes('a', 0, 7), await bench.takes('b', 1, 8)], [true, true])
  bench.tell('a', 2, 1)
  assert.equal(bench.tell('b', 2, 2), 'ORIGIN_CHANGED')
  assert.equal(bench.mixed.length, 1)
})

test('Versions does not judge between two parents of the known version', async () => {
  const bench = new Bench({ version: v1 })
  assert.equal(bench.tell('a', 0, 7, v1), undefined)
  assert.equal(bench.tell('b', 0, 8, v1), undefined)
  assert.deepEqual([await bench.takes('a', 1, 1), await bench.takes('b', 2, 2)], [true, true])
})

test('Versions.claim() is the word of the origin', async () => {
  const bench = new Bench()
  bench.tell('a', 0, 7, v2)
  assert.equal(await bench.versions.claim(v1), true)
  assert.deepEqual([bench.written, bench.others], [[v1], ['a']])
  assert.equal(await bench.versions.claim(v1), true)
  assert.equal(await bench.versions.claim(v2), false)
})

test('Versions.onHave() passes over versions that are to be avoided, while none is known', () => {
  const bench = new Bench({ avoid: [v1] })
  assert.equal(bench.tell('a', 0, 7, v1), 'ORIGIN_CHANGED')
  assert.equal(bench.tell('b', 0, 7, v2), undefined)
  assert.equal(new Bench({ avoid: [v1], version: v1 }).tell('a', 0, 7, v1), undefined)
})

test('Versions never lets pieces of two versions in, whoever tells what and when', async () => {
  const parent = fc.record({ id: fc.nat(5), number: fc.nat(7) })
  const step = fc.oneof(
    parent.map((p) => ({ ...p, is: 'tell' as const })),
    parent.map((p) => ({ ...p, is: 'take' as const })),
    parent.map((p) => ({ ...p, is: 'change' as const })),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const bench = new Bench()
      const now = new Map<number, number>()
      const taken = new Set<number>()
      const told = new Set<string>()
      for (const { is, id, number } of steps) {
        // An even parent begins with the first version, an odd one with the second.
        const version = now.get(id) ?? id % 2
        const crc = version * 1000 + number
        if (is === 'tell') {
          bench.tell(`p${id}`, number, crc, version === 0 ? v1 : v2)
          told.add(`${id} ${number}`)
        }
        if (is === 'change') now.set(id, 1 - version)
        // Only what was told of is asked for.
        if (is === 'take' && told.has(`${id} ${number}`)) {
          if (await bench.takes(`p${id}`, number, crc)) taken.add(version)
        }
      }
      assert.ok(taken.size <= 1)
    }),
  )
})
