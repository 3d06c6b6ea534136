import assert from 'node:assert/strict'
import test from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { versionToken } from '../../src/hash/version.ts'
import { AskedOrigin } from '../../src/task/asked-origin.ts'
import type { Origin, OriginStat } from '../../src/task/ports.ts'

class Bench {
  readonly reads: (string | undefined)[] = []
  readonly claims: string[] = []
  stats = 0
  answer: OriginStat | PeerError = { length: 10, ranges: true, headers: {}, validator: 'v1' }
  grants = true
  readonly origin: AskedOrigin

  constructor() {
    const origin: Origin = {
      stat: () => {
        this.stats++
        return this.answer instanceof PeerError
          ? Promise.reject(this.answer)
          : Promise.resolve(this.answer)
      },
      read: async function* (this: Bench, { validator }: { readonly validator?: string }) {
        this.reads.push(validator)
        yield await Promise.resolve(new Uint8Array(1))
      }.bind(this),
    }
    const claim = (version: string): Promise<boolean> => {
      this.claims.push(version)
      return Promise.resolve(this.grants)
    }
    this.origin = new AskedOrigin({ origin, contentLength: 10, shownUrl: 'https://o/m', claim })
  }

  async read(validator?: string): Promise<void> {
    const part = { offset: 0, ...(validator === undefined ? {} : { validator }) }
    for await (const _ of this.origin.read(part, new AbortController().signal)) assert.ok(_)
  }
}

test('AskedOrigin.read() asks once for the version, before the first byte', async () => {
  const bench = new Bench()
  await Promise.all([bench.read(), bench.read()])
  await bench.read()
  assert.deepEqual([bench.stats, bench.reads], [1, ['v1', 'v1', 'v1']])
  assert.deepEqual(bench.claims, [versionToken('v1')])
})

test('AskedOrigin.read() asks nothing when the version is known', async () => {
  const bench = new Bench()
  await bench.read('v0')
  assert.deepEqual([bench.stats, bench.reads], [0, ['v0']])
})

test('AskedOrigin.read() reads nothing of another version or length', async () => {
  const bench = new Bench()
  bench.grants = false
  await assert.rejects(bench.read(), (error) => PeerError.is(error, 'ORIGIN_CHANGED'))
  bench.grants = true
  bench.answer = { length: 11, ranges: true, headers: {}, validator: 'v1' }
  await assert.rejects(bench.read(), (error) => PeerError.is(error, 'ORIGIN_CHANGED'))
  assert.deepEqual(bench.reads, [])
})

test('AskedOrigin.read() asks again after a failure, and reads an origin that has no versions', async () => {
  const bench = new Bench()
  const details = { url: '', attempts: 1, reason: 'Simulated' }
  bench.answer = new PeerError('ORIGIN_UNREACHABLE', 'Simulated', details)
  await assert.rejects(bench.read(), bench.answer)
  bench.answer = { ranges: true, headers: {} }
  await bench.read()
  assert.deepEqual([bench.stats, bench.reads, bench.claims], [2, [undefined], []])
})
