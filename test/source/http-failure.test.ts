import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errors } from 'undici'
import type { ErrorCode } from '../../src/errors.ts'
import { originsMax } from '../../src/source/connections.ts'
import { failureOf } from '../../src/source/http-failure.ts'

const attempt = { url: 'http://host/', attempts: 3 }

function coded(code: string): Error {
  return Object.assign(new Error('from below'), { code })
}

const unreachable = (reason: string): object => ({ ...attempt, reason })
const tls = (reason: string): object => ({ url: attempt.url, reason })

const cases: [thrown: unknown, code: ErrorCode, transient: boolean, details: object][] = [
  [coded('ECONNRESET'), 'ORIGIN_UNREACHABLE', true, unreachable('ECONNRESET')],
  [coded('EAI_AGAIN'), 'ORIGIN_UNREACHABLE', true, unreachable('EAI_AGAIN')],
  [new errors.ConnectTimeoutError(), 'ORIGIN_UNREACHABLE', true, unreachable('connect timeout')],
  [new errors.BodyTimeoutError(), 'ORIGIN_UNREACHABLE', true, unreachable('idle timeout')],
  [new errors.SocketError('x'), 'ORIGIN_UNREACHABLE', true, unreachable('connection closed')],
  [new AggregateError([], ''), 'ORIGIN_UNREACHABLE', true, unreachable('AggregateError')],
  ['text', 'ORIGIN_UNREACHABLE', true, unreachable('Error')],
  [coded('CERT_HAS_EXPIRED'), 'ORIGIN_TLS', false, tls('CERT_HAS_EXPIRED')],
  [coded('SELF_SIGNED_CERT_IN_CHAIN'), 'ORIGIN_TLS', false, tls('SELF_SIGNED_CERT_IN_CHAIN')],
  [coded('DEPTH_ZERO_SELF_SIGNED_CERT'), 'ORIGIN_TLS', false, tls('DEPTH_ZERO_SELF_SIGNED_CERT')],
  [coded('ERR_SSL_WRONG_VERSION_NUMBER'), 'ORIGIN_TLS', false, tls('ERR_SSL_WRONG_VERSION_NUMBER')],
  [new errors.ClientDestroyedError(), 'CLOSED', false, { what: 'source' }],
  [
    Object.assign(new Error('x'), { code: 'UND_ERR_MAX_ORIGINS_REACHED' }),
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
