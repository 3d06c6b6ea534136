import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { settings } from '../../src/peer/settings.ts'
import { outputDirsMax, pemBytesMax } from '../../src/peer/tls.ts'
import { certificates } from '../rpc/certificates.ts'
import { otherCertificates } from './certificates.ts'

const { ca, serverCert: cert, serverKey: key } = certificates
const good = { ca, cert, key }
const shortKey = generateKeyPairSync('rsa', { modulusLength: 512 }).privateKey.export({
  type: 'pkcs8',
  format: 'pem',
}) as string
const torn = cert.replace('MIIB', 'MIIA')

type Case = readonly [what: string, tls: unknown, kind: typeof TypeError, message: RegExp]

const cases: readonly Case[] = [
  ['no object', 'yes', TypeError, /options\.tls/],
  ['an unknown key', { ...good, certificate: cert }, TypeError, /options\.tls\.certificate/],
  ['no authority', { cert, key }, TypeError, /options\.tls\.ca .*undefined/],
  ['no certificate', { ca, key }, TypeError, /options\.tls\.cert /],
  ['no key', { ca, cert }, TypeError, /options\.tls\.key /],
  ['a key that is a number', { ...good, key: 5 }, TypeError, /options\.tls\.key /],
  ['an empty authority', { ...good, ca: '' }, RangeError, /options\.tls\.ca /],
  [
    'a huge certificate',
    { ...good, cert: 'x'.repeat(pemBytesMax + 1) },
    RangeError,
    /options\.tls\.cert /,
  ],
  ['an authority that is no PEM', { ...good, ca: 'hello' }, RangeError, /options\.tls\.ca .*PEM/],
  ['a torn certificate', { ...good, cert: torn }, RangeError, /options\.tls\.cert .*number 1/],
  [
    'a torn authority behind a good one',
    { ...good, ca: `${ca}${torn}` },
    RangeError,
    /options\.tls\.ca .*number 2/,
  ],
  ['a certificate as key', { ...good, key: cert }, RangeError, /options\.tls\.key /],
  ['a torn key', { ...good, key: key.replace('MIGH', 'MIGG') }, RangeError, /options\.tls\.key /],
  [
    'an encrypted key',
    { ...good, key: otherCertificates.encryptedKey },
    RangeError,
    /options\.tls\.key .*not encrypted/,
  ],
  [
    "another certificate's key",
    { ...good, key: otherCertificates.key },
    RangeError,
    /options\.tls\.key is not the key of/,
  ],
  ['a short key', { ...good, key: shortKey }, RangeError, /options\.tls\.key /],
  ['an empty name', { ...good, serverName: '' }, RangeError, /options\.tls\.serverName/],
  ['a name that is a list', { ...good, serverName: ['a'] }, TypeError, /options\.tls\.serverName/],
  ['deletes by text', { ...good, deletes: 'no' }, TypeError, /options\.tls\.deletes/],
  ['one folder', { ...good, outputDirs: '/srv' }, TypeError, /options\.tls\.outputDirs/],
  ['a relative folder', { ...good, outputDirs: ['out'] }, RangeError, /outputDirs\[0\]/],
  ['a folder that is a number', { ...good, outputDirs: ['/a', 1] }, TypeError, /outputDirs\[1\]/],
  [
    'too many folders',
    { ...good, outputDirs: Array.from({ length: outputDirsMax + 1 }, () => '/a') },
    RangeError,
    /options\.tls\.outputDirs/,
  ],
]

/** A line of each secret that must stand nowhere. */
const secrets = [key, otherCertificates.key, otherCertificates.encryptedKey, shortKey].map(
  (pem) => pem.split('\n')[1] ?? '',
)

for (const [what, tls, kind, message] of cases) {
  test(`settings() refuses tls with ${what}, names the option and not its content`, () => {
    assert.throws(
      () => settings({ tls: tls as never }),
      (error) => {
        assert.ok(error instanceof kind, String(error))
        assert.match(error.message, message)
        const shown = inspect(error, { depth: 10, showHidden: true })
        for (const secret of secrets) assert.ok(!shown.includes(secret))
        return true
      },
    )
  })
}

test('settings() takes certificates as text and as bytes, and keeps a copy', () => {
  const bytes = { ca: Buffer.from(ca), cert: Buffer.from(cert), key: Buffer.from(key) }
  const { tls } = settings({ tls: { ...bytes, serverName: 'server.test' } })
  bytes.key.fill(0)
  assert.equal(tls?.deletes, true)
  assert.deepEqual(tls?.outputDirs, [])
  assert.deepEqual(tls?.credentials.server, { ca, cert, key })
  assert.deepEqual(tls?.credentials.channel, { ca, cert, key, serverName: 'server.test' })
})

test('settings() keeps the key out of everything that prints or serialises them', () => {
  const parsed = settings({ tls: good })
  const shown = `${inspect(parsed, { depth: 10, showHidden: true })}${JSON.stringify(parsed)}`
  for (const secret of secrets) assert.ok(!shown.includes(secret))
})
