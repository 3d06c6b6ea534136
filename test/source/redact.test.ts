import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  redactText,
  redactUrl,
  redactedTextLengthMax,
  redactedUrlLengthMax,
} from '../../src/source/redact.ts'

const cases: [url: string, redacted: string][] = [
  ['https://host/a/b', 'https://host/a/b'],
  ['https://user:word@host:8443/a?x=1&y=2#part', 'https://host:8443/a?x&y'],
  ['https://host/a?', 'https://host/a'],
  ['https://host/a?token', 'https://host/a?…'],
  ['https://host/a?x=1=2&=3&y', 'https://host/a?x&&…'],
  ['s3://key:word@bucket/a', 's3://bucket/a'],
  ['demo:user:word@host/a', 'demo:host/a'],
  ['file:///home/a%20b', 'file:///home/a%20b'],
  ['http://[word', 'http:'],
  ['word', ''],
]
for (const [url, redacted] of cases) {
  test(`redactUrl() of ${url}`, () => assert.equal(redactUrl(url), redacted))
}

test('redactUrl() never tells user info or a query value, and stays short', () => {
  const secret = fc.stringMatching(/^[A-Za-z0-9]{1,20}$/).map((text) => `Zq9${text}`)
  const name = fc.stringMatching(/^[a-p]{1,8}$/)
  const query = fc.array(fc.tuple(name, secret), { maxLength: 60 })
  fc.assert(
    fc.property(secret, secret, query, fc.webPath(), (user, word, pairs, path) => {
      fc.pre(!path.includes('Zq9'))
      const search = pairs.map(([key, value]) => `${key}=${value}`).join('&')
      const redacted = redactUrl(`https://${user}:${word}@host.example${path}?${search}#${word}`)
      assert.ok(!redacted.includes('Zq9'), redacted)
      assert.ok(redacted.length <= redactedUrlLengthMax)
    }),
  )
})

test('redactUrl() leaves the URL that it is given alone', () => {
  const url = new URL('https://user:word@host/?a=b')
  redactUrl(url)
  assert.equal(url.href, 'https://user:word@host/?a=b')
})

test('redactText() takes out every secret of the request, encoded or not, and cuts', () => {
  const request = {
    url: new URL('https://user:pass%20word@host/?sig=a%2Bb%2Bc'),
    headers: { authorization: 'Bearer abcdef', short: 'ok' },
  }
  const text = `Bearer abcdef, abcdef, user, a+b+c, a%2Bb%2Bc, ok, ${request.url.href}`
  assert.equal(redactText(text, request), '…, …, …, …, …, ok, https://host/?sig')
  assert.equal(redactText('x'.repeat(1000), request).length, redactedTextLengthMax)
})
