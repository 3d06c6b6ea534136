import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import test from 'node:test'
import { rdma } from '../../../src/index.ts'

/** Where the kernel lists its RDMA devices; the folder is missing in a kernel without RDMA. */
const folder = '/sys/class/infiniband'

test('rdma.probe() says that a library is missing, and which', async () => {
  const { supported, reason } = await rdma.probe({ library: 'libnone.so.9' })
  assert.equal(supported, false)
  assert.match(reason, /^No verbs library: libnone\.so\.9/)
})

test('rdma.probe() says what this machine has, and why that does not do', async () => {
  const { supported, reason, devices } = await rdma.probe()
  const there = existsSync(folder) ? readdirSync(folder) : []
  if (there.length === 0) {
    assert.equal(supported, false)
    assert.deepEqual(devices, [])
    assert.match(reason, /^(There is no RDMA device|No verbs library: )/)
  } else if (!supported) {
    assert.notEqual(reason, '')
  }
})
