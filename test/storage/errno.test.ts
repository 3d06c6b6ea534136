import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { errnoOf, storeError, withErrno } from '../../src/storage/errno.ts'

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: something`), { code, errno: -1, syscall: 'open' })
}

const table: readonly (readonly [string, string, string?])[] = [
  ['ENOSPC', 'NO_SPACE'],
  ['EDQUOT', 'NO_SPACE'],
  ['EACCES', 'PERMISSION_DENIED'],
  ['EPERM', 'PERMISSION_DENIED'],
  ['EROFS', 'PERMISSION_DENIED'],
  ['ENOENT', 'FILE_NOT_FOUND'],
  ['ENOTDIR', 'FILE_NOT_FOUND'],
  ['EEXIST', 'STORE_FAILED', 'OUTPUT_EXISTS'],
  ['EIO', 'STORE_FAILED'],
  ['EMFILE', 'STORE_FAILED'],
]

for (const [errno, code, forOutput] of table) {
  test(`storeError() turns ${errno} into ${code}`, () => {
    const cause = systemError(errno)
    for (const output of [false, true]) {
      const error = storeError(cause, { path: '/p', operation: 'open', needed: 7, output })
      assert.ok(PeerError.is(error))
      assert.equal(error.code, output ? (forOutput ?? code) : code)
      assert.equal(error.cause, cause)
      assert.equal((error.details as { path: string }).path, '/p')
      if (PeerError.is(error, 'NO_SPACE')) assert.equal(error.details.needed, 7)
      if (PeerError.is(error, 'STORE_FAILED')) assert.equal(error.details.errno, errno)
    }
  })
}

test('storeError() leaves alone what is no errno', async () => {
  const others = [
    new Error('reason'),
    'reason',
    undefined,
    new TypeError('bad'),
    Object.assign(new Error('bad argument'), { code: 'ERR_INVALID_ARG_TYPE' }),
    new PeerError('CLOSED', 'Closed', { what: 'store' }),
  ]
  for (const other of others) {
    assert.equal(storeError(other, { path: '/p', operation: 'open' }), other)
    assert.equal(errnoOf(other), undefined)
    await assert.rejects(
      withErrno({ path: '/p', operation: 'open' }, Promise.reject(other)),
      (error) => error === other,
    )
  }
})
