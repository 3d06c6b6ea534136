import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Code, ConnectError } from '@connectrpc/connect'

import { backendDetail, backendError, keepJsonDetails } from '../../src/rpc/backend-detail.ts'
import { type RpcFailure, rpcError } from '../../src/rpc/rpc-error.ts'

const table: readonly [Code, RpcFailure][] = [
  [Code.Canceled, 'unavailable'],
  [Code.Unknown, 'internal'],
  [Code.InvalidArgument, 'invalid'],
  [Code.DeadlineExceeded, 'timeout'],
  [Code.NotFound, 'not-found'],
  [Code.AlreadyExists, 'already-exists'],
  [Code.PermissionDenied, 'forbidden'],
  [Code.ResourceExhausted, 'exhausted'],
  [Code.FailedPrecondition, 'precondition'],
  [Code.Aborted, 'unavailable'],
  [Code.OutOfRange, 'invalid'],
  [Code.Unimplemented, 'unimplemented'],
  [Code.Internal, 'internal'],
  [Code.Unavailable, 'unavailable'],
  [Code.DataLoss, 'internal'],
  [Code.Unauthenticated, 'forbidden'],
]

for (const [code, is] of table) {
  test(`rpcError() calls ${Code[code]} ${is}`, () => {
    assert.deepEqual(rpcError(new ConnectError('the reason', code)), { is, reason: 'the reason' })
  })
}

for (const code of ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOENT', 'EHOSTUNREACH', 'ENOTFOUND']) {
  test(`rpcError() calls ${code} unavailable, whatever Connect made of it`, () => {
    const cause = Object.assign(new Error('broken'), { code })
    const error = new ConnectError('broken', Code.Internal, undefined, undefined, cause)
    assert.equal(rpcError(error).is, 'unavailable')
    assert.equal(rpcError(cause).is, 'unavailable')
  })
}

test('rpcError() calls everything else internal, and survives a circle of causes', () => {
  const error: Error = new Error('odd')
  error.cause = error
  assert.equal(rpcError(error).is, 'internal')
  assert.equal(rpcError('text').is, 'internal')
  assert.equal(rpcError(undefined).is, 'internal')
  const bug = Object.assign(new TypeError('bug'), { code: 'ERR_INVALID_ARG_TYPE' })
  assert.equal(rpcError(bug).is, 'internal')
})

const name = 'grpc-status-details-bin'

function base64(text: string): string {
  return Buffer.from(text).toString('base64')
}

test('keepJsonDetails() hides JSON from Connect and leaves protobuf to it', () => {
  const json: Record<string, string> = { [name]: base64('{"message":"x"}'), 'grpc-status': '13' }
  keepJsonDetails(json)
  assert.equal(json[name], undefined)
  assert.equal(json['grpc-status'], '13')
  const protobuf = { [name]: Buffer.from([8, 13, 18, 1, 65]).toString('base64') }
  keepJsonDetails(protobuf)
  assert.ok(name in protobuf)
  const none = {}
  keepJsonDetails(none)
  assert.deepEqual(none, {})
})

function received(text: string): ConnectError {
  const headers = { [name]: base64(text) }
  keepJsonDetails(headers)
  return new ConnectError('failed', Code.Internal, headers)
}

test('backendDetail() reads what backendError() and upstream write', () => {
  const detail = { message: 'gone', header: { 'x-a': '1' }, statusCode: 404 }
  const sent = backendError(detail)
  assert.equal(sent.code, Code.Internal)
  const json = Buffer.from(sent.metadata.get(name) ?? '', 'base64').toString()
  assert.deepEqual(JSON.parse(json), { message: 'gone', header: { 'x-a': '1' }, status_code: 404 })
  assert.deepEqual(backendDetail(received(json)), detail)
  const none = '{"message":"m","header":{},"status_code":null}'
  assert.deepEqual(backendDetail(received(none)), { message: 'm', header: {} })
})

for (const text of ['{', '{"message":', '{}', '{"message":1,"header":[1],"status_code":"x"}']) {
  test(`backendDetail() takes nothing wrong from ${text}`, () => {
    const detail = backendDetail(received(text))
    assert.ok(detail === undefined || detail.message === '')
    assert.equal(detail?.statusCode, undefined)
  })
}

test('backendDetail() is undefined without details', () => {
  assert.equal(backendDetail(new ConnectError('failed', Code.Internal)), undefined)
})
