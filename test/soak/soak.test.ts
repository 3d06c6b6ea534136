import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Sample } from './figures.ts'
import { judged, slope } from './flatness.ts'
import { soak } from './soak.ts'

test('A swarm that is churned gives every download its bytes, comes to rest and leaves nothing open', async () => {
  const goOn = (rounds: number): boolean => rounds < 2
  const { counts, samples, descriptors } = await soak({
    seed: 1,
    actsPerRound: 16,
    atOnce: 4,
    goOn,
  })
  const acts = Object.values(counts).reduce((sum, count) => sum + count, 0)
  assert.equal(acts, 2 * 16 + 2)
  assert.equal(samples.length, 2)
  assert.ok(samples.every(({ heapBytes, residentBytes }) => heapBytes > 0 && residentBytes > 0))
  assert.ok(descriptors.after <= descriptors.before, JSON.stringify(descriptors))
})

/** Samples of a process whose heap follows this rule. */
function samplesOf(heapBytes: (at: number) => number): Sample[] {
  return Array.from({ length: 40 }, (_, at) => ({
    minutes: at / 4,
    residentBytes: 200 * 2 ** 20,
    heapBytes: heapBytes(at),
    externalBytes: 0,
    descriptors: 40,
    resources: 20,
    loopDelayMs: 11,
  }))
}

test('judged() finds what grows, and leaves noise and a warm-up alone', () => {
  const mib = 2 ** 20
  const heapOf = (rule: (at: number) => number): boolean | undefined =>
    judged(samplesOf(rule)).find(({ figure }) => figure === 'heapBytes')?.flat
  assert.equal(
    heapOf((at) => 50 * mib + at * mib),
    false,
  )
  assert.equal(
    heapOf((at) => 50 * mib + (at % 7) * mib),
    true,
  )
  assert.equal(
    heapOf((at) => Math.min(50, 10 + 5 * at) * mib),
    true,
  )
  assert.deepEqual(judged(samplesOf(() => 0).slice(0, 5)), [])
})

test('slope() is that of the straight line with the least squares', () => {
  assert.equal(
    slope([
      [0, 1],
      [1, 3],
      [2, 5],
    ]),
    2,
  )
  assert.equal(
    slope([
      [1, 5],
      [1, 7],
    ]),
    0,
  )
})
