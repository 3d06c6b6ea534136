import assert from 'node:assert/strict'
import test from 'node:test'

import type { Said } from '../../src/scheduler/dialect.ts'
import { gatherMs, ReportQueue, reportsMax } from '../../src/scheduler/report-queue.ts'
import { VirtualClock } from '../sim/clock.ts'
import { report } from './script.ts'

/** A queue whose items are taken as fast as they are given, and what was taken, one text for each. */
function taken(clock?: VirtualClock): { queue: ReportQueue; said: string[]; over: Promise<void> } {
  const queue = new ReportQueue()
  if (clock !== undefined) queue.gather(clock)
  const said: string[] = []
  const over = (async () => {
    for await (const one of queue.drain()) said.push(textOf(one))
  })()
  return { queue, said, over }
}

function textOf(said: Said): string {
  if (said.is !== 'piece') return said.is
  return `${said.report.parentId}:${[said.report.piece.number, ...said.also].join(' ')}`
}

function piece(number: number, parentId = 'p', traffic: 'source' | 'peer' = 'peer'): Said {
  return { is: 'piece', report: { ...report(number, traffic), parentId }, also: [] }
}

test('ReportQueue tells each piece alone unless it is told to gather', async () => {
  const clock = new VirtualClock()
  const { queue, said } = taken()
  for (let number = 0; number < 3; number++) queue.push(piece(number))
  await clock.settle()
  assert.deepEqual(said, ['p:0', 'p:1', 'p:2'])
})

test('ReportQueue.gather() lets the first piece go at once and tells those of the next moment together', async () => {
  const clock = new VirtualClock()
  const { queue, said } = taken(clock)
  queue.push(piece(0))
  await clock.settle()
  assert.deepEqual(said, ['p:0'])
  for (let number = 1; number < 5; number++) {
    queue.push(piece(number))
    await clock.pass(gatherMs / 10)
  }
  assert.deepEqual(said, ['p:0'])
  await clock.pass(gatherMs)
  assert.deepEqual(said, ['p:0', 'p:1 2 3 4'])
  await clock.pass(gatherMs)
  assert.equal(clock.pending, 0)
  queue.push(piece(5))
  await clock.settle()
  assert.equal(said.at(-1), 'p:5')
})

test('ReportQueue.gather() tells pieces of different parents and of the origin apart', async () => {
  const clock = new VirtualClock()
  const { queue, said } = taken(clock)
  queue.push(piece(0))
  await clock.settle()
  queue.push(piece(1))
  queue.push(piece(2, 'q'))
  queue.push(piece(3, '', 'source'))
  queue.push(piece(4))
  queue.push(piece(5, '', 'source'))
  await clock.pass(gatherMs)
  assert.deepEqual(said, ['p:0', 'p:1 4', 'q:2', ':3', ':5'])
})

test('ReportQueue.gather() keeps nothing else waiting, and the order of it', async () => {
  const clock = new VirtualClock()
  const { queue, said, over } = taken(clock)
  queue.push(piece(0))
  await clock.settle()
  queue.push(piece(1))
  queue.push(piece(2))
  queue.push({ is: 'pieceFailed', number: 9, parentId: 'p' })
  queue.push(piece(3))
  await clock.settle()
  assert.deepEqual(said, ['p:0', 'p:1 2', 'pieceFailed', 'p:3'])
  queue.push(piece(4))
  queue.push({ is: 'end', how: { is: 'done', source: false } })
  queue.close()
  await over
  assert.deepEqual(said.slice(4), ['p:4', 'end'])
  assert.equal(clock.pending, 0)
})

test('ReportQueue.close() and clear() end the wait for more pieces', async () => {
  const clock = new VirtualClock()
  for (const way of ['close', 'clear'] as const) {
    const { queue, said, over } = taken(clock)
    queue.push(piece(0))
    await clock.settle()
    queue.push(piece(1))
    queue[way]()
    await over
    assert.deepEqual(said, way === 'close' ? ['p:0', 'p:1'] : ['p:0'])
    assert.equal(clock.pending, 0)
  }
})

test('ReportQueue counts pieces that are told together when it drops the oldest', async () => {
  const clock = new VirtualClock()
  const { queue, said } = taken(clock)
  queue.push(piece(0))
  await clock.settle()
  for (let number = 1; number <= reportsMax; number++) queue.push(piece(number))
  assert.equal(queue.dropped, 0)
  queue.push(piece(reportsMax + 1))
  assert.equal(queue.dropped, 1)
  await clock.pass(gatherMs)
  assert.equal(said.length, 2)
  assert.equal(queue.length, 0)
  for (let number = 0; number < reportsMax; number++) queue.push(piece(number))
  assert.equal(queue.dropped, 1)
})
