import assert from 'node:assert/strict'
import { loadAddon } from '../../../../src/transport/rdma/addon.ts'
import type { NativeRdma } from '../../../../src/transport/rdma/native.ts'

/** The addon with the verbs library of the system. */
export function nativeRdma(): NativeRdma {
  const addon = loadAddon()
  assert.ok('native' in addon, 'reason' in addon ? addon.reason : '')
  addon.native.load('libibverbs.so.1')
  return addon.native
}
