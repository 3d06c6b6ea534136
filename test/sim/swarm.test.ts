import assert from 'node:assert/strict'
import test from 'node:test'
import { runSwarm } from './swarm.ts'

/*
 * Equal uplinks, everybody starts together, one seed has the content. Nobody can be faster than B + ⌊log₂N⌋ rounds for B pieces and N peers.
 * Both uplinks of the real thing are looked at: one piece after the other, and all that are asked at once.
 */
const cases = [
  { peers: 8, pieces: 60, parents: 2, uplink: 'turns', atMost: 1.5 },
  { peers: 8, pieces: 60, parents: 3, uplink: 'turns', atMost: 1.5 },
  { peers: 16, pieces: 60, parents: 2, uplink: 'turns', atMost: 1.5 },
  { peers: 16, pieces: 60, parents: 3, uplink: 'turns', atMost: 1.5 },
  { peers: 8, pieces: 60, parents: 2, uplink: 'equal', atMost: 1.5 },
] as const
for (const { atMost, ...one } of cases) {
  const { peers, pieces, parents, uplink } = one
  test(`Run: ${peers} peers with ${parents} parents each, ${uplink}, finish within ${atMost} of the bound`, async (t) => {
    for (const seed of [1, 2]) {
      const { ratio, rounds, seedLoad } = await runSwarm({ ...one, seed })
      t.diagnostic(
        `${peers} peers, ${pieces} pieces, ${parents} parents, ${uplink}, seed ${seed}: ` +
          `${rounds.toFixed(1)} rounds, ratio ${ratio.toFixed(2)}, the seed sent ${seedLoad.toFixed(2)} times the content`,
      )
      assert.ok(ratio <= atMost, `${ratio}`)
    }
  })
}

// Pieces that take seconds, and queues of a minute: much longer than the patience with a single parent.
for (const uplink of ['turns', 'equal'] as const) {
  for (const choice of ['loaded', 'random'] as const) {
    test(`Run: 16 peers that are all busy do not leave each other for it (${uplink}, ${choice})`, async (t) => {
      const one = { peers: 16, pieces: 40, parents: 3, seed: 2, uplink, choice }
      const quick = await runSwarm(one)
      const slow = await runSwarm({ ...one, roundMs: 4000 })
      t.diagnostic(`ratio ${quick.ratio.toFixed(2)}, with slow uplinks ${slow.ratio.toFixed(2)}`)
      assert.ok(slow.ratio <= quick.ratio * 1.25, `${slow.ratio} against ${quick.ratio}`)
    })
  }
}

test('Run: sparing the seed pays, against random parents', async (t) => {
  const one = { peers: 8, pieces: 60, parents: 3, seed: 1 }
  const loaded = await runSwarm(one)
  const random = await runSwarm({ ...one, choice: 'random' })
  t.diagnostic(`least loaded ${loaded.ratio.toFixed(2)}, random ${random.ratio.toFixed(2)}`)
  assert.ok(loaded.ratio < random.ratio)
})

test('Run: taking of children too pays where the scheduler allows no circles', async (t) => {
  for (const peers of [8, 16]) {
    const one = { peers, pieces: 32, parents: 4, choice: 'random' } as const
    const means = [false, true].map(async (meets) => {
      let sum = 0
      for (const seed of [1, 2, 3]) sum += (await runSwarm({ ...one, seed, meets })).ratio
      return sum / 3
    })
    const [without = 0, mutual = 0] = await Promise.all(means)
    t.diagnostic(`${peers} peers: ${without.toFixed(2)} without, ${mutual.toFixed(2)} with`)
    assert.ok(mutual < without * 0.9, `${mutual} against ${without}`)
  }
})
