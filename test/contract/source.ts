import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import type { Source } from '../../src/source/source.ts'
import { Sources } from '../../src/source/sources.ts'
import type { Origin } from '../../src/task/ports.ts'
import { firstChunk, patterned, readAll, rejection } from '../source/reading.ts'

/** A source and a place to put content that it can read. */
export interface SourceWorld {
  readonly source: Source
  /** Puts content there, or other content in its place, and gives its URL. */
  put(name: string, content: Uint8Array): Promise<string>
  /** A URL where nothing is. */
  missing(): string
  close(): Promise<void>
}

/** What the source can do besides. */
export interface SourceTraits {
  /** It reads parts of what was put. */
  readonly ranges: boolean
  /** It notices other content. */
  readonly validators: boolean
}

/** What every source must do, checked on one. */
export function sourceContract(
  name: string,
  traits: SourceTraits,
  make: () => Promise<SourceWorld>,
): void {
  describe(`Source contract of ${name}`, () => {
    const content = patterned(3 * 1024 * 1024 + 17)
    // A test that does not apply is not there, rather than there and empty.
    const onlyIf = (applies: boolean) => (title: string, run: () => Promise<void>) => {
      if (applies) test(title, run)
    }
    const withRanges = onlyIf(traits.ranges)
    const withValidators = onlyIf(traits.validators)
    let world: SourceWorld
    let sources: Sources
    let url: string
    let origin: Origin

    const bind = (to: string): Origin => sources.bind({ url: to, headers: {} })
    const signal = (): AbortSignal => new AbortController().signal

    before(async () => {
      world = await make()
      sources = new Sources([world.source])
      url = await world.put('content', content)
      origin = bind(url)
    })

    after(async () => {
      await sources.close()
      await world.close()
    })

    test('stat() tells length, ranges and a validator that stays', async () => {
      const stat = await origin.stat(signal())
      assert.equal(stat.length, content.length)
      assert.equal(stat.ranges, traits.ranges)
      assert.equal(stat.validator !== undefined, traits.validators)
      assert.deepEqual(await origin.stat(signal()), stat)
    })

    test('read() gives the whole content', async () => {
      assert.deepEqual(await readAll(origin), content)
      assert.deepEqual(await readAll(origin, { offset: 0, length: content.length }), content)
    })

    test('read() of no bytes gives none', async () => {
      assert.equal((await readAll(origin, { offset: 0, length: 0 })).length, 0)
    })

    withRanges('read() gives exactly the part that is asked for', async () => {
      const end = content.length
      const parts: [offset: number, length?: number][] = [
        [0, 1],
        [1, 1],
        [end - 1, 1],
        [end - 1],
        [65_535, 2],
        [1024 * 1024, 1024 * 1024],
        [7],
        [end],
      ]
      for (const [offset, length] of parts) {
        const read = await readAll(origin, { offset, ...(length === undefined ? {} : { length }) })
        const expected = content.subarray(offset, length === undefined ? end : offset + length)
        assert.deepEqual(read, new Uint8Array(expected), `${offset}+${length}`)
      }
    })

    withRanges('read() of any part equals that slice of the content', async () => {
      const place = fc.nat({ max: content.length - 1 })
      await fc.assert(
        fc.asyncProperty(place, fc.integer({ min: 1, max: 200_000 }), async (offset, wanted) => {
          const length = Math.min(wanted, content.length - offset)
          const read = await readAll(origin, { offset, length })
          assert.ok(Buffer.from(read).equals(content.subarray(offset, offset + length)))
        }),
        { numRuns: 20 },
      )
    })

    withRanges('read() past the end fails and gives nothing', async () => {
      await rejection(readAll(origin, { offset: content.length, length: 1 }), 'ORIGIN_PROTOCOL')
      await rejection(readAll(origin, { offset: content.length + 1 }), 'ORIGIN_PROTOCOL')
    })

    test('stat() and read() of an empty object find no bytes', async () => {
      const empty = bind(await world.put('empty', new Uint8Array()))
      assert.equal((await empty.stat(signal())).length, 0)
      assert.equal((await readAll(empty)).length, 0)
    })

    withValidators(
      'read() goes on with the validator of the same version and fails with ORIGIN_CHANGED after a change',
      async () => {
        const changing = bind(await world.put('changing', patterned(70_000)))
        const { validator = '' } = await changing.stat(signal())
        assert.equal((await readAll(changing, { offset: 0, validator })).length, 70_000)
        await world.put('changing', patterned(70_001, 1))
        const error = await rejection(readAll(changing, { offset: 0, validator }), 'ORIGIN_CHANGED')
        assert.notEqual(error.details.expected, error.details.actual)
        assert.notEqual((await changing.stat(signal())).validator, validator)
        if (!traits.ranges) return
        const part = { offset: 100, length: 100, validator }
        await rejection(readAll(changing, part), 'ORIGIN_CHANGED')
      },
    )

    test('stat() and read() of what is not there fail with ORIGIN_NOT_FOUND', async () => {
      const missing = bind(world.missing())
      await rejection(missing.stat(signal()), 'ORIGIN_NOT_FOUND')
      await rejection(readAll(missing), 'ORIGIN_NOT_FOUND')
    })

    test('stat() and read() reject with the reason of a signal that has fired', async () => {
      const reason = new Error('not wanted')
      const aborted = AbortSignal.abort(reason)
      await assert.rejects(origin.stat(aborted), (error) => error === reason)
      await assert.rejects(readAll(origin, { offset: 0 }, aborted), (error) => error === reason)
    })

    test('read() rejects with the reason of a signal that fires in the middle', async () => {
      const reason = { why: 'not an Error, and passed on as it is' }
      const controller = new AbortController()
      let chunks = 0
      const reading = async (): Promise<void> => {
        for await (const chunk of origin.read({ offset: 0 }, controller.signal)) {
          assert.ok(chunk.length > 0)
          if (++chunks === 2) controller.abort(reason)
        }
      }
      await assert.rejects(reading(), (error) => error === reason)
      assert.equal(chunks, 2)
    })

    test('read() that is left early harms no later one', async () => {
      for (let turn = 0; turn < 5; turn++) {
        assert.equal((await firstChunk(origin))[0], content[0])
      }
      assert.deepEqual(await readAll(origin), content)
    })

    test('read() runs several times at once', async () => {
      const parts = [0, 1, 2, 3, 4, 5].map(() => readAll(origin))
      for (const read of await Promise.all(parts)) assert.ok(Buffer.from(read).equals(content))
    })
  })
}
