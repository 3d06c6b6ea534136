import assert from 'node:assert/strict'
import test from 'node:test'
import { simOptions } from './swarms/options.ts'
import { play } from './swarms/play.ts'
import { scenarioOf } from './swarms/scenario.ts'
import { replayLine } from './swarms/tally.ts'

/** Many more are played by `npm run test:sim`. */
const count = 150

test(`Whole swarms lose nothing and deliver nothing wrong (${count} seeds)`, async () => {
  for (let seed = 1; seed <= count; seed++) {
    const { faults } = await play(scenarioOf(seed))
    assert.deepEqual(faults, [], replayLine(seed))
  }
})

test('Swarms in which content changed while it was passed on mix nothing', async () => {
  // Each of these once did, or did not get on afterwards.
  for (const seed of [320, 486, 935, 2688]) {
    const { faults } = await play(scenarioOf(seed))
    assert.deepEqual(faults, [], replayLine(seed))
  }
})

test('A swarm goes the same way each time it is played', async () => {
  for (const seed of [7, 41, 93]) {
    const [first, second] = [await play(scenarioOf(seed)), await play(scenarioOf(seed))]
    assert.deepEqual(first, second)
  }
})

test('A peer that can get its content from nowhere is found', async () => {
  const scenario = scenarioOf(2)
  const [first] = scenario.peers
  assert.ok(first !== undefined)
  const kill = { is: 'kill', atMs: 0, peer: first.name, downMs: undefined } as const
  const second = { ...first, name: 'p1', backToSource: 'never', startMs: 10 } as const
  const lost = { ...scenario, calm: false, peers: [first, second], events: [kill] }
  const { faults } = await play(lost)
  assert.equal(faults.length, 1)
  assert.match(faults[0] ?? '', /p1 has no content/)
})

test('simOptions() reads the line that plays one swarm again', () => {
  const args = replayLine(17).split(' -- ')[1]?.split(' ') ?? []
  const options = simOptions(args, Math.random)
  assert.deepEqual(options, { seed: 17, count: 1, verbose: true, workers: 2 })
  assert.throws(() => simOptions(['--count', '0'], Math.random), RangeError)
})
