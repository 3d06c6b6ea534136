import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { PeerError } from '../../src/errors.ts'
import type { Source, SourceRead } from '../../src/source/source.ts'
import { Sources, urlLengthMax } from '../../src/source/sources.ts'
import type { OriginStat } from '../../src/task/ports.ts'
import { firstChunk, readAll, rejection } from './reading.ts'

const signal = new AbortController().signal

/** A source that does what the test says. */
function made(parts: Partial<Source> = {}): Source {
  return {
    scheme: 'demo',
    stat: async () => ({ length: 5, ranges: true, headers: {} }),
    read: () => chunks('hello'),
    ...parts,
  }
}

async function* chunks(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield new TextEncoder().encode(text)
}

const bindOne = (parts: Partial<Source>): ReturnType<Sources['bind']> =>
  new Sources([], [made(parts)]).bind({ url: 'demo://host/path?key=value', headers: { a: 'b' } })

describe('Sources', () => {
  test('Sources puts the user’s sources before the built-in ones', async () => {
    const mine = made({
      scheme: ['http', 'extra'],
      stat: async () => ({ length: 1, ranges: false, headers: {} }),
    })
    const sources = new Sources([made({ scheme: ['http', 'https'] })], [mine])
    assert.deepEqual(sources.schemes, ['extra', 'http', 'https'])
    const length = async (url: string): Promise<number | undefined> =>
      (await sources.bind({ url, headers: {} }).stat(signal)).length
    assert.deepEqual([await length('http://a/'), await length('https://a/')], [1, 5])
  })

  test('Sources takes schemes of every form the URL grammar allows, and URLs in upper case', () => {
    const sources = new Sources([], [made({ scheme: 'x-y+z.1' })])
    sources.bind({ url: 'X-Y+Z.1:anything', headers: {} })
  })

  const wrong: [what: string, sources: unknown, message: RegExp][] = [
    ['two of the user’s for one scheme', [made(), made()], /^sources\[1\]\.scheme .*demo/],
    ['no array', made(), /^sources must be an array/],
    ['no object', [made(), null], /^sources\[1\] must be a source, got null/],
    ['no stat', [{ ...made(), stat: undefined }], /^sources\[0\]\.stat must be a function/],
    [
      'read that is no function',
      [{ ...made(), read: 'x' }],
      /^sources\[0\]\.read must be a function/,
    ],
    [
      'close that is no function',
      [{ ...made(), close: 1 }],
      /^sources\[0\]\.close must be a function/,
    ],
    ['a scheme with colon', [made({ scheme: 'demo:' })], /^sources\[0\]\.scheme must be/],
    ['a scheme in upper case', [made({ scheme: 'Demo' })], /^sources\[0\]\.scheme must be/],
    ['an empty list of schemes', [made({ scheme: [] })], /^sources\[0\]\.scheme must name/],
    ['a scheme that is no text', [{ ...made(), scheme: [5] }], /^sources\[0\]\.scheme must be/],
  ]
  for (const [what, sources, message] of wrong) {
    test(`Sources refuses ${what}`, () => {
      assert.throws(() => new Sources([], sources as Source[]), { name: 'TypeError', message })
    })
  }

  test('Sources.bind() refuses URLs that it cannot use', () => {
    const sources = new Sources([made()], [made({ scheme: 'other' })])
    const bind = (url: string) => (): unknown => sources.bind({ url, headers: {} })
    assert.throws(bind('no url'), (error) => PeerError.is(error, 'INVALID_URL'))
    assert.throws(bind('demo://host:99999/'), (error) => {
      assert.ok(PeerError.is(error, 'INVALID_URL'))
      return error.details.url === 'demo:'
    })
    assert.throws(bind(`demo:${'x'.repeat(urlLengthMax)}`), (error) =>
      PeerError.is(error, 'INVALID_URL'),
    )
    assert.throws(bind('ftp://host/'), (error) => {
      assert.ok(PeerError.is(error, 'UNKNOWN_SCHEME'))
      assert.deepEqual(error.details, { scheme: 'ftp', known: ['demo', 'other'] })
      return true
    })
  })

  test('Sources.bind() refuses headers that no request can carry, and names them only', () => {
    const sources = new Sources([made()])
    const many = Object.fromEntries(Array.from({ length: 129 }, (_, at) => [`h${at}`, 'x']))
    for (const [headers, message] of [
      [{ 'a b': 'x' }, /not a token/],
      [{ 'x-a': 'line\r\nbreak' }, /^headers\.x-a /],
      [{ 'x-a': 'ü→' }, /^headers\.x-a /],
      [{ 'x-a': 5 as unknown as string }, /^headers\.x-a /],
      [{ 'x-a': 'x'.repeat(16_385) }, /^headers\.x-a /],
      [many, /128/],
    ] as const) {
      assert.throws(
        () => sources.bind({ url: 'demo://a', headers }),
        (error) => {
          assert.ok(error instanceof TypeError || error instanceof RangeError)
          assert.match(error.message, message)
          return !error.message.includes('line')
        },
      )
    }
  })

  test('Sources.close() closes each source once, also hidden ones, and also when one fails', async () => {
    const closed: string[] = []
    const closing = (name: string, scheme: string[]): Source =>
      made({
        scheme,
        close: async () => {
          closed.push(name)
          if (name === 'bad') throw new Error('stuck')
        },
      })
    const sources = new Sources(
      [closing('hidden', ['a']), made({ scheme: 'silent' })],
      [closing('bad', ['a']), closing('good', ['b', 'c'])],
    )
    const error = await rejection(sources.close(), 'FOREIGN')
    assert.ok(error.cause instanceof Error && error.cause.message === 'stuck')
    assert.deepEqual(closed.toSorted(), ['bad', 'good', 'hidden'])
  })
})

describe('Origin of Sources', () => {
  test('Origin hands the source what it is asked for', async () => {
    const asked: SourceRead[] = []
    const origin = bindOne({
      read: (request) => {
        asked.push(request)
        return chunks('ello')
      },
    })
    await readAll(origin, { offset: 1, length: 4, validator: 'v' }, signal)
    const [request] = asked
    assert.ok(request !== undefined)
    assert.deepEqual(
      { ...request, url: request.url.href },
      {
        url: 'demo://host/path?key=value',
        headers: { a: 'b' },
        signal,
        offset: 1,
        length: 4,
        validator: 'v',
      },
    )
  })

  test('Origin gives every call a URL of its own', async () => {
    const seen: string[] = []
    const origin = bindOne({
      stat: async ({ url }) => {
        seen.push(url.href)
        url.pathname = '/spoilt'
        return { ranges: true, headers: {} }
      },
    })
    await origin.stat(signal)
    await origin.stat(signal)
    assert.deepEqual(seen, ['demo://host/path?key=value', 'demo://host/path?key=value'])
  })

  const stats: [what: string, stat: unknown, reason: RegExp][] = [
    ['nothing', undefined, /stat\(\) must return an object/],
    ['a negative length', { length: -1, ranges: true, headers: {} }, /length/],
    ['half a byte', { length: 0.5, ranges: true, headers: {} }, /length/],
    ['an unsafe length', { length: 2 ** 53, ranges: true, headers: {} }, /length/],
    ['a length as text', { length: '5', ranges: true, headers: {} }, /length/],
    ['no ranges', { length: 5, headers: {} }, /ranges/],
    ['an empty validator', { ranges: true, validator: '', headers: {} }, /validator/],
    ['a huge validator', { ranges: true, validator: 'x'.repeat(5000), headers: {} }, /validator/],
    ['a validator that is no text', { ranges: true, validator: 5, headers: {} }, /validator/],
    ['no headers', { ranges: true }, /headers/],
    ['headers that are no text', { ranges: true, headers: { a: 1 } }, /headers/],
    [
      'too many headers',
      {
        ranges: true,
        headers: Object.fromEntries(Array.from({ length: 65 }, (_, at) => [at, 'x'])),
      },
      /headers/,
    ],
  ]
  for (const [what, stat, reason] of stats) {
    test(`Origin.stat() fails with FOREIGN for ${what}`, async () => {
      const origin = bindOne({ stat: async () => stat as OriginStat })
      const error = await rejection(origin.stat(signal), 'FOREIGN')
      assert.equal(error.details.where, 'source demo stat')
      assert.match(error.details.reason, reason)
    })
  }

  test('Origin.stat() passes on no more than the contract has', async () => {
    const given = { length: 5, ranges: false, validator: 'v', headers: { a: 'b' }, extra: 1 }
    const { extra, ...expected } = given
    assert.deepEqual(await bindOne({ stat: async () => given }).stat(signal), expected)
    assert.equal(extra, 1)
    assert.deepEqual(
      await bindOne({ stat: async () => ({ ranges: true, headers: {} }) }).stat(signal),
      {
        ranges: true,
        headers: {},
      },
    )
  })

  test('Origin.read() fails with ORIGIN_PROTOCOL for more bytes than asked, and delivers none of the chunk', async () => {
    let ended = false
    const origin = bindOne({
      async *read() {
        try {
          yield* chunks('he', 'llo')
        } finally {
          ended = true
        }
      },
    })
    const got: string[] = []
    const reading = async (): Promise<void> => {
      const part = { offset: 0, length: 4 }
      for await (const chunk of origin.read(part, signal)) got.push(Buffer.from(chunk).toString())
    }
    const error = await rejection(reading(), 'ORIGIN_PROTOCOL')
    assert.deepEqual(error.details, {
      url: 'demo://host/path?key',
      expected: '4 bytes',
      actual: '5 bytes or more',
    })
    assert.deepEqual([got, ended], [['he'], true])
  })

  test('Origin.read() fails with ORIGIN_PROTOCOL for fewer bytes than asked; without a length it takes what comes', async () => {
    const origin = bindOne({ read: () => chunks('he', '', 'llo') })
    const error = await rejection(readAll(origin, { offset: 0, length: 6 }), 'ORIGIN_PROTOCOL')
    assert.equal(error.details.actual, '5 bytes')
    assert.equal((await readAll(origin, { offset: 0 })).length, 5)
    assert.equal((await readAll(origin, { offset: 0, length: 5 })).length, 5)
  })

  const reads: [what: string, read: () => unknown, reason: RegExp][] = [
    [
      'text for bytes',
      async function* () {
        yield 'text'
      },
      /must yield Uint8Array, got a string/,
    ],
    [
      'words of two bytes',
      async function* () {
        yield new Uint16Array(2)
      },
      /must yield Uint8Array/,
    ],
    ['no iterable', () => 5, /./],
    ['nothing', () => undefined, /./],
    [
      'an error at once',
      () => {
        throw new RangeError('broken')
      },
      /^RangeError: broken$/,
    ],
    [
      'an error later',
      async function* () {
        yield new Uint8Array(1)
        throw new Error('broken')
      },
      /^Error: broken$/,
    ],
    [
      'something thrown that is no error',
      async function* () {
        yield new Uint8Array(1)
        throw 'text'
      },
      /^a string of 4/,
    ],
  ]
  for (const [what, read, reason] of reads) {
    test(`Origin.read() fails with FOREIGN for ${what}`, async () => {
      const origin = bindOne({ read: read as Source['read'] })
      const error = await rejection(readAll(origin), 'FOREIGN')
      assert.equal(error.details.where, 'source demo read')
      assert.match(error.details.reason, reason)
    })
  }

  test('Origin keeps the cause of what a source throws, and passes PeerErrors on as they are', async () => {
    const cause = new Error('broken')
    const origin = bindOne({ stat: () => Promise.reject(cause) })
    assert.equal((await rejection(origin.stat(signal), 'FOREIGN')).cause, cause)
    const own = new PeerError('ORIGIN_NOT_FOUND', 'No such object', { url: 'demo:' })
    await assert.rejects(
      bindOne({ stat: () => Promise.reject(own) }).stat(signal),
      (error) => error === own,
    )
    const sync = bindOne({
      stat: () => {
        throw cause
      },
    })
    assert.equal((await rejection(sync.stat(signal), 'FOREIGN')).cause, cause)
  })

  test('Origin rejects with the signal’s reason, though the source never looks at it or throws another error', async () => {
    const reason = new Error('enough')
    const hanging = bindOne({
      stat: () => new Promise(() => undefined),
      async *read() {
        await new Promise(() => undefined)
      },
    })
    const own = bindOne({
      stat: async ({ signal: given }) => {
        while (!given.aborted) await setImmediate()
        throw new Error('the own word of the source for it')
      },
    })
    for (const work of [
      (given: AbortSignal) => hanging.stat(given),
      (given: AbortSignal) => readAll(hanging, { offset: 0 }, given),
      (given: AbortSignal) => own.stat(given),
    ]) {
      const controller = new AbortController()
      const working = work(controller.signal)
      await setImmediate()
      controller.abort(reason)
      await assert.rejects(working, (error) => error === reason)
    }
  })

  test('Origin.read() lets go of the source when its consumer leaves or is cancelled between chunks', async () => {
    let ended = 0
    const origin = bindOne({
      async *read() {
        try {
          for (;;) yield new Uint8Array(10)
        } finally {
          ended++
        }
      },
    })
    assert.equal((await firstChunk(origin)).length, 10)
    assert.equal(ended, 1)
    const controller = new AbortController()
    const reason = new Error('enough')
    const reading = origin.read({ offset: 0 }, controller.signal)[Symbol.asyncIterator]()
    await reading.next()
    controller.abort(reason)
    await assert.rejects(reading.next(), (error) => error === reason)
    await setImmediate()
    assert.equal(ended, 2)
  })

  test('Origin.read() refuses parts that are no whole numbers', async () => {
    for (const part of [
      { offset: -1 },
      { offset: 0.5 },
      { offset: 0, length: -1 },
      { offset: NaN },
    ]) {
      await assert.rejects(readAll(bindOne({}), part), RangeError)
    }
  })
})
