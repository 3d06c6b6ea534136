import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sipHash24 } from '../../src/hash/siphash.ts'
import { sipHashes } from '../vectors/ring.ts'

test('sipHash24() agrees with the published values for each length of input', () => {
  sipHashes.forEach((expected, length) => {
    const bytes = Uint8Array.from({ length }, (_, at) => at)
    const actual = sipHash24(bytes, 0x0706050403020100n, 0x0f0e0d0c0b0a0908n)
    assert.equal(actual, expected, `${length} bytes`)
  })
})

test('sipHash24() counts the length modulo 256', () => {
  assert.equal(sipHash24(new Uint8Array(300).fill(0xff)), 0xd31bf0e0beb6a23dn)
})

test('sipHash24() reads a view that does not begin at the start of its buffer', () => {
  const whole = Uint8Array.from({ length: 40 }, (_, at) => at)
  const view = whole.subarray(7, 30)
  assert.equal(sipHash24(view), sipHash24(view.slice()))
})
