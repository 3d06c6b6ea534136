import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { downloadSettings, seedSettings, writeSettings } from '../../src/peer/download-settings.ts'
import { settings } from '../../src/peer/settings.ts'

type Case = readonly [what: string, options: unknown, kind: typeof TypeError, names: RegExp]

const peerCases: readonly Case[] = [
  ['an unknown key', { schedular: 'embedded' }, TypeError, /options\.schedular/],
  ['no object', 7, TypeError, /options/],
  ['an address without port', { scheduler: '10.0.0.1' }, RangeError, /options\.scheduler/],
  ['a port above 65535', { scheduler: '10.0.0.1:99999' }, RangeError, /options\.scheduler/],
  ['no address at all', { scheduler: [] }, RangeError, /options\.scheduler/],
  ['a bad one among several', { scheduler: ['a:1', 'b'] }, RangeError, /options\.scheduler\[1\]/],
  ['a manager without address', { scheduler: { manager: 5 } }, TypeError, /scheduler\.manager/],
  ['an unknown key of manager', { scheduler: { boss: 'a:1' } }, TypeError, /scheduler\.boss/],
  ['a seedPeer of text', { seedPeer: 'yes' }, TypeError, /options\.seedPeer/],
  ['a host name as address', { host: { ip: 'localhost' } }, RangeError, /options\.host\.ip/],
  ['an empty host name', { host: { hostname: '' } }, RangeError, /options\.host\.hostname/],
  ['a negative port', { listen: { port: -1 } }, RangeError, /options\.listen\.port/],
  [
    'a port that Go schedulers refuse',
    { scheduler: '10.0.0.1:8002', listen: { port: 65_535 } },
    RangeError,
    /options\.listen\.port/,
  ],
  [
    'a low port with a scheduler elsewhere',
    { scheduler: '10.0.0.1:8002', listen: { port: 443 } },
    RangeError,
    /options\.listen\.port/,
  ],
  ['a port of text', { listen: { tcpPort: '80' } }, TypeError, /options\.listen\.tcpPort/],
  ['a store of text', { store: 'disk' }, TypeError, /options\.store/],
  ['no bytes', { store: { bytesMax: 0 } }, RangeError, /options\.store\.bytesMax/],
  ['absurdly many bytes', { store: { bytesMax: 2 ** 60 } }, RangeError, /store\.bytesMax/],
  ['a mark above 1', { store: { highWater: 2 } }, RangeError, /options\.store\.highWater/],
  ['marks crossed', { store: { highWater: 0.5, lowWater: 0.6 } }, RangeError, /store\.lowWater/],
  ['a transport that is none', { transports: ['tcp'] }, TypeError, /options\.transports\[0\]/],
  ['sources that are no list', { sources: {} }, TypeError, /options\.sources/],
  ['half a piece', { limits: { concurrency: 0.5 } }, RangeError, /options\.limits\.concurrency/],
  ['NaN slots', { limits: { uploadSlots: Number.NaN } }, RangeError, /limits\.uploadSlots/],
  ['no rate', { limits: { uploadBytesPerSecond: 0 } }, RangeError, /uploadBytesPerSecond/],
  ['an unknown limit', { limits: { pieces: 3 } }, TypeError, /options\.limits\.pieces/],
]

for (const [what, options, kind, names] of peerCases) {
  test(`settings() refuses ${what} and names the key`, () => {
    assert.throws(
      () => settings(options as object),
      (error) => error instanceof kind && names.test(error.message),
    )
  })
}

test('settings() fills in every default and does not write to what it was given', () => {
  const options = Object.freeze({ host: Object.freeze({ idc: 'east' }) })
  const parsed = settings(options)
  assert.deepEqual(parsed.scheduler, { is: 'embedded' })
  assert.equal(parsed.host.idc, 'east')
  assert.equal(parsed.limits.concurrency, 8)
  assert.equal(parsed.store.is, 'disk')
})

const downloadCases: readonly Case[] = [
  ['an unknown key', { rang: {} }, TypeError, /options\.rang/],
  ['an empty range', { range: { start: 0, length: 0 } }, RangeError, /options\.range\.length/],
  ['a negative start', { range: { start: -1, length: 1 } }, RangeError, /options\.range\.start/],
  ['a bad digest', { digest: 'sha256:abc' }, TypeError, /options\.digest/],
  ['an unknown algorithm', { digest: 'md5:abc' }, TypeError, /options\.digest/],
  ['a small piece length', { pieceLength: 1024 }, RangeError, /options\.pieceLength/],
  ['a large piece length', { pieceLength: 2 ** 30 }, RangeError, /options\.pieceLength/],
  ['a priority of 7', { priority: 7 }, RangeError, /options\.priority/],
  ['a wish for the source', { backToSource: 'maybe' }, TypeError, /options\.backToSource/],
  ['a store of another kind', { store: 'tape' }, TypeError, /options\.store/],
  ['into text', { into: 'text' }, TypeError, /options\.into/],
  ['into on disk', { into: new Uint8Array(1), store: 'disk' }, TypeError, /options\.into/],
  ['a header with a line break', { headers: { a: 'b\r\nc: d' } }, TypeError, /headers\.a/],
  ['a header name with a space', { headers: { 'a b': 'c' } }, TypeError, /options\.headers/],
  ['a signal that is none', { signal: {} }, TypeError, /options\.signal/],
  ['progress that is no function', { onProgress: 1 }, TypeError, /options\.onProgress/],
  [
    'a digest of a range',
    { digest: `sha256:${'0'.repeat(64)}`, range: { start: 0, length: 1 } },
    TypeError,
    /options\.digest/,
  ],
]

for (const [what, options, kind, names] of downloadCases) {
  test(`downloadSettings() refuses ${what} and names the key`, () => {
    assert.throws(
      () => downloadSettings('https://example.com/a', options as object),
      (error) => error instanceof kind && names.test(error.message),
    )
  })
}

test('downloadSettings() refuses a URL that cannot be parsed without showing it', () => {
  assert.throws(
    () => downloadSettings('no url?token=secret'),
    (error) =>
      PeerError.is(error, 'INVALID_URL') &&
      !JSON.stringify([error.message, error.details, String(error.cause)]).includes('secret'),
  )
})

test('downloadSettings() refuses an id that is none, and parts of the id beside one', () => {
  assert.throws(() => downloadSettings({ task: '../../etc/passwd' }), /target\.task/)
  assert.throws(() => downloadSettings({ task: 'a'.repeat(64) }, { tag: 'x' }), /options\.tag/)
  assert.throws(() => downloadSettings(7 as unknown as string), TypeError)
})

test('writeSettings() holds the bounds of the schedulers', () => {
  assert.equal(writeSettings().replicas, 2)
  assert.throws(() => writeSettings({ ttlMs: 1000 }), /options\.ttlMs/)
  assert.throws(() => writeSettings({ replicas: 6 }), /options\.replicas/)
  assert.throws(() => writeSettings({ url: 'x' } as object), /options\.url/)
})

test('seedSettings() needs a URL and knows its keys', () => {
  assert.throws(() => seedSettings('/tmp/file', {} as { url: string }), TypeError)
  assert.throws(() => seedSettings('', { url: 'https://example.com/a' }), /path/)
  assert.equal(seedSettings('/tmp/file', { url: 'https://example.com/a' }).spec.kind, 'standard')
})
