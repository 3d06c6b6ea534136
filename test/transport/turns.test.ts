import assert from 'node:assert/strict'
import test from 'node:test'
import { Turns } from '../../src/transport/turns.ts'
import { ManualClock } from './manual-clock.ts'

const never = new AbortController().signal

/** Turns under a limit, and who has had one. */
class Bench {
  readonly clock: ManualClock = new ManualClock()
  readonly rate: { limited: boolean; waiting: number; take(): Promise<void> } = {
    limited: true,
    waiting: 1,
    take: () => Promise.resolve(),
  }
  readonly turns: Turns = new Turns(this.rate, this.clock)
  readonly had: string[] = []
  readonly #open: Disposable[] = []

  async ask(piece: string, signal: AbortSignal = never): Promise<void> {
    const turn = await this.turns.take(piece, signal)
    this.had.push(piece)
    this.#open.push(turn)
  }

  /** The one that has its turn longest gives it back. */
  async end(): Promise<void> {
    this.#open.shift()?.[Symbol.dispose]()
    await settled()
  }
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve()
}

test('Turns.take() lets one go after the other under a limit, and all at once without', async () => {
  const bench = new Bench()
  for (const piece of ['a', 'b', 'c']) void bench.ask(piece)
  await settled()
  assert.deepEqual(bench.had, ['a'])
  await bench.end()
  assert.deepEqual(bench.had, ['a', 'b'])
  bench.rate.limited = false
  await bench.end()
  assert.deepEqual(bench.had, ['a', 'b', 'c'])
  for (const piece of ['d', 'e', 'f']) void bench.ask(piece)
  await settled()
  assert.equal(bench.had.length, 6)
})

test('Turns.take() prefers pieces that were sent least often, then who came first', async () => {
  const bench = new Bench()
  for (const piece of ['a', 'a', 'b', 'a', 'b', 'c']) void bench.ask(piece)
  await settled()
  for (let count = 0; count < 5; count++) await bench.end()
  assert.deepEqual(bench.had, ['a', 'b', 'c', 'a', 'b', 'a'])
})

test('Turns.take() passes nobody over for ever', async () => {
  const bench = new Bench()
  void bench.ask('old')
  void bench.ask('old')
  void bench.ask('new 0')
  let count = 0
  while (bench.had.filter((piece) => piece === 'old').length < 2) {
    await settled()
    void bench.ask(`new ${++count}`)
    await bench.end()
    assert.ok(count <= 9, `${count}`)
  }
  assert.ok(count >= 5, `${count}`)
})

test('Turns.take() rejects with the reason of who stops waiting, and its place is free', async () => {
  const bench = new Bench()
  const gone = new AbortController()
  const reason = new Error('gone')
  await bench.ask('a')
  const waiting = bench.ask('b', gone.signal)
  void bench.ask('c')
  gone.abort(reason)
  await assert.rejects(waiting, (error) => error === reason)
  await assert.rejects(bench.ask('d', gone.signal), (error) => error === reason)
  await bench.end()
  assert.deepEqual(bench.had, ['a', 'c'])
})

test('Turns gives one more a turn when the first cannot use up the rate', async () => {
  const bench = new Bench()
  for (const piece of ['a', 'b', 'c']) void bench.ask(piece)
  bench.clock.advance(1000)
  await settled()
  assert.deepEqual(bench.had, ['a'])
  bench.rate.waiting = 0
  bench.clock.advance(200)
  await settled()
  assert.deepEqual(bench.had, ['a', 'b'])
  bench.rate.waiting = 1
  bench.clock.advance(1000)
  await settled()
  assert.deepEqual(bench.had, ['a', 'b'])
})
