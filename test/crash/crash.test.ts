import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runTrials } from './trials.ts'

/** A few of the trials of `npm run test:crash`, always the same. */
const trials = 60

test('DiskStore and Peer lose, leak and mistake nothing when their process is killed', async () => {
  const lines: string[] = []
  const results = await runTrials({ trials, seed: 1, jobs: 2 }, (line) => lines.push(line))
  assert.deepEqual(lines, [])
  assert.ok(results.trials >= trials, `${results.trials} trials`)
  assert.ok(results.pieces > 100, `${results.pieces} pieces`)
  assert.ok(results.points.size > 60, `${results.points.size} points`)
})
