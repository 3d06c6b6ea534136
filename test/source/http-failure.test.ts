import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ErrorCode } from '../../src/errors.ts'
import { failureOf } from '../../src/source/http-failure.ts'
import { HttpFault } from '../../src/source/http-fault.ts'
import { originsMax } from '../../src/source/origin-lanes.ts'

const attempt = { url: 'http://host/', attempts: 3 }

function coded(code: string): Error {
  return Object.assign(new Error('from below'), { code })
}

const unreachable = (reason: string): object => ({ ...attempt, reason })
const tls = (reason: string): object => ({ url: attempt.url, reason })

const cases: [thrown: unknown, code: ErrorCode, transient: boolean, details: object][] = [
  [coded('ECONNRESET'), 'ORIGIN_UNREACHABLE', true, unreachable('ECONNRESET')],
  [coded('EAI_AGAIN'), 'ORIGIN_UNREACHABLE', true, unreachable('EAI_AGAIN')],
  [new HttpFault('CONNECT_TIMEOUT'), 'ORIGIN_UNREACHABLE', true, unreachable('connect timeout')],
  [new HttpFault('IDLE_TIMEOUT'), 'ORIGIN_UNREACHABLE', true, unreachable('idle timeout')],
  [
    new HttpFault('CONNECTION_CLOSED'),
    'ORIGIN_UNREACHABLE',
    true,
    unreachable('connection closed'),
  ],
  [new HttpFault('STALE_CONNECTION'), 'ORIGIN_UNREACHABLE', true, unreachable('connection closed')],
  [coded('HPE_INVALID_EOF_STATE'), 'ORIGIN_UNREACHABLE', true, unreachable('connection closed')],
  [
    coded('HPE_INVALID_CONSTANT'),
    'ORIGIN_PROTOCOL',
    false,
    { url: attempt.url, expected: 'an HTTP/1.1 answer', actual: 'HPE_INVALID_CONSTANT' },
  ],
  [new AggregateError([], ''), 'ORIGIN_UNREACHABLE', true, unreachable('AggregateError')],
  ['text', 'ORIGIN_UNREACHABLE', true, unreachable('Error')],
  [coded('CERT_HAS_EXPIRED'), 'ORIGIN_TLS', false, tls('CERT_HAS_EXPIRED')],
  [coded('SELF_SIGNED_CERT_IN_CHAIN'), 'ORIGIN_TLS', false, tls('SELF_SIGNED_CERT_IN_CHAIN')],
  [coded('DEPTH_ZERO_SELF_SIGNED_CERT'), 'ORIGIN_TLS', false, tls('DEPTH_ZERO_SELF_SIGNED_CERT')],
  [coded('ERR_SSL_WRONG_VERSION_NUMBER'), 'ORIGIN_TLS', false, tls('ERR_SSL_WRONG_VERSION_NUMBER')],
  [new HttpFault('SOURCE_CLOSED'), 'CLOSED', false, { what: 'source' }],
  [
    new HttpFault('ORIGINS_MAX'),
    'LIMIT_REACHED',
    false,
    { limit: 'originsMax', value: originsMax },
  ],
]
for (const [thrown, code, transient, details] of cases) {
  test(`failureOf() of ${String(thrown)} ${JSON.stringify(details)} is ${code}`, () => {
    const failure = failureOf(thrown, attempt)
    assert.deepEqual([failure.error.code, failure.transient], [code, transient])
    assert.deepEqual(failure.error.details, details)
    assert.ok(failure.error.cause instanceof Error)
  })
}
