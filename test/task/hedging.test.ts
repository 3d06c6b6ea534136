import assert from 'node:assert/strict'
import test from 'node:test'
import { hedgedShareMax } from '../../src/task/hedge.ts'
import { contentOf } from '../sim/content.ts'
import { parents, SimAnnouncer } from '../sim/scheduler.ts'
import { SimWorld } from '../sim/world.ts'

/** Enough pieces that three of them may come twice. */
const pieceCount = 60

/** `a` and `b` have everything, and what `a` is asked for at the end takes it a minute. */
function slowEnd(): SimWorld {
  const world = new SimWorld(pieceCount)
  const slow = world.parents.add('a', world.all, { sendMs: 20 })
  const read = world.parents.read.bind(world.parents)
  world.parents.read = async (from, request, slot, signal) => {
    const end = from.parent.id === 'a' && world.sink.keptCount >= pieceCount - 6
    if (end) Object.assign(slow.manners, { sendMs: 60_000 })
    return read(from, request, slot, signal)
  }
  world.parents.add('b', world.all, { sendMs: 20 })
  return world
}

test('Run asks a second parent for a piece that is slow to come at the end, and keeps it once', async () => {
  const world = slowEnd()
  const run = world.run(
    new SimAnnouncer([parents(world.parents.get('a'), world.parents.get('b'))]),
    {
      backToSource: 'never',
      concurrency: 4,
      patienceMs: 120_000,
      pieceTimeoutMs: 120_000,
    },
  )
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.ok(world.clock.now() < 5000, `${world.clock.now()}`)
  const { wastedBytes, pieces } = run.explain()
  assert.equal(pieces.done, pieceCount)
  assert.ok(wastedBytes > 0)
  assert.ok(wastedBytes <= hedgedShareMax * world.cut.contentLength)
  world.checkContent()
  await run.ended
  world.checkNothingOpen()
})

test('Run does not take the second copy when it is wrong', async () => {
  const world = slowEnd()
  const b = world.parents.get('b')
  const run = world.run(new SimAnnouncer([parents(world.parents.get('a'), b)]), {
    backToSource: 'never',
    concurrency: 4,
    patienceMs: 120_000,
    pieceTimeoutMs: 120_000,
  })
  const share = run.join()
  await world.clock.until(() => world.sink.keptCount >= pieceCount - 2)
  Object.assign(b.manners, { reads: 'wrong' })
  await world.clock.until(() => !run.open)
  await share.done
  world.checkContent()
  await run.ended
  world.checkNothingOpen()
})

for (const same of [true, false]) {
  test(`Run ${same ? 'keeps' : 'fetches again'} a piece whose first copy is whole when the second wins, and is ${same ? 'the same' : 'another'}`, async () => {
    const world = slowEnd()
    const read = world.parents.read.bind(world.parents)
    let late = 0
    world.parents.read = async (from, request, slot, signal) => {
      try {
        return await read(from, request, slot, signal)
      } catch (error) {
        // Its last bytes were on their way when it was stopped.
        if (from.parent.id !== 'a' || !signal.aborted || slot.filled === 0) throw error
        const { piece } = request
        for (let space = slot.space(); space !== undefined && space.length > 0; ) {
          space.set(contentOf(piece.offset + slot.filled + (same ? 0 : 1), space.length))
          slot.fill(space.length)
          space = slot.space()
        }
        late++
        throw error
      }
    }
    const both = [world.parents.get('a'), world.parents.get('b')]
    const run = world.run(new SimAnnouncer([parents(...both)]), {
      backToSource: 'never',
      concurrency: 4,
      patienceMs: 120_000,
      pieceTimeoutMs: 120_000,
    })
    const share = run.join()
    await world.clock.until(() => !run.open)
    await share.done
    assert.ok(late > 0)
    world.checkContent()
    // Nothing says whose copy is wrong.
    assert.deepEqual(
      run.explain().parents.map(({ failures }) => failures),
      [0, 0],
    )
    await run.ended
    world.checkNothingOpen()
  })
}
