import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  type RdmaOptions,
  rdmaDefaults,
  rdmaSettings,
} from '../../../src/transport/rdma/options.ts'
import { rdma } from '../../../src/transport/rdma/rdma.ts'

describe('rdmaSettings()', () => {
  it('takes the defaults, and what is given', () => {
    assert.deepEqual(rdmaSettings(), {
      device: undefined,
      port: undefined,
      gidIndex: undefined,
      ...rdmaDefaults,
    })
    const given: RdmaOptions = {
      device: 'mlx5_0',
      port: 2,
      gidIndex: 3,
      memoryBytesMax: 64 * 1024 * 1024,
      library: '/opt/lib.so',
      stallTimeoutMs: 900,
    }
    assert.deepEqual(rdmaSettings(given), given)
    assert.ok(rdmaDefaults.stallTimeoutMs <= 1500)
  })
  for (const [wrong, key] of [
    [{ devices: 'a' }, /devices/],
    [{ device: '' }, /rdma\.device/],
    [{ port: 0 }, /rdma\.port/],
    [{ port: '1' }, /rdma\.port/],
    [{ gidIndex: -1 }, /rdma\.gidIndex/],
    [{ memoryBytesMax: 1 }, /rdma\.memoryBytesMax/],
    [{ library: 5 }, /rdma\.library/],
    [{ stallTimeoutMs: 1 }, /rdma\.stallTimeoutMs/],
  ] as const) {
    it(`refuses ${JSON.stringify(wrong)}, before anything is opened`, () => {
      assert.throws(() => rdma(wrong as RdmaOptions), key)
    })
  }
})
