import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { describe, it } from 'node:test'
import { PeerError } from '../../../src/errors.ts'
import { abortable } from '../../../src/util/scope.ts'
import { ManualClock } from '../manual-clock.ts'
import { never } from '../pair.ts'
import { PieceSlot } from '../piece-slot.ts'
import { turns, until } from '../until.ts'
import { answer, asked, content, head, piece, rawParent, readPiece, stateOf } from './raw-parent.ts'

describe('TcpClient: time', () => {
  it('gives up a connection that does not come', async (test) => {
    const clock = new ManualClock()
    const parent = await rawParent(test, () => undefined, { clock, connectTimeoutMs: 700 })
    const failed = assert.rejects(readPiece(parent), (error) => {
      assert.ok(PeerError.is(error, 'PARENT_UNREACHABLE'))
      assert.match(error.details.reason, /700 ms/)
      return true
    })
    // Promises alone run in between: no socket can have been opened yet.
    for (let count = 0; count < 20 && clock.pending === 0; count++) await Promise.resolve()
    clock.advance(700)
    await failed
    assert.equal(clock.pending, 0)
  })

  for (const [what, count] of [
    ['in the head', 20],
    ['in the content', head.length + 5000],
  ] as const) {
    it(`gives up a parent that stops ${what}`, async (test) => {
      const clock = new ManualClock()
      const parent = await rawParent(test, (socket) => socket.write(answer.subarray(0, count)), {
        clock,
        stallTimeoutMs: 3000,
      })
      const slot = new PieceSlot(piece)
      const failed = assert.rejects(
        parent.child.read(parent.address, asked, slot, never),
        (error) => PeerError.is(error, 'PARENT_UNREACHABLE'),
      )
      await until(
        'it has begun',
        () => clock.delays.includes(3000) && slot.filled >= count - head.length,
      )
      clock.advance(2999)
      await turns()
      assert.equal(parent.openCount, 1)
      clock.advance(1)
      await failed
      await until('it is cut', () => parent.openCount === 0)
    })
  }

  it('waits as long as its caller for a parent that has not begun', async (test) => {
    const clock = new ManualClock()
    const waiting: Socket[] = []
    const parent = await rawParent(test, (socket) => void waiting.push(socket), {
      clock,
      stallTimeoutMs: 3000,
    })
    const fetched = readPiece(parent)
    await until('it was asked', () => waiting.length === 1)
    clock.advance(700_000)
    waiting[0]?.write(answer)
    await fetched
  })

  it('does not blame the parent while the slot has no space', async (test) => {
    const clock = new ManualClock()
    const parent = await rawParent(test, (socket) => socket.write(answer), {
      clock,
      stallTimeoutMs: 3000,
    })
    const slot = new PieceSlot(piece)
    let goOn: (() => void) | undefined
    const space = slot.space.bind(slot)
    slot.drained = () =>
      new Promise((resolve) => {
        goOn = resolve
      })
    slot.space = () => {
      if (slot.filled === 0 || goOn !== undefined) return space()?.subarray(0, 1000)
      return undefined
    }
    const fetched = parent.child.read(parent.address, asked, slot, never)
    await until('it waits', () => goOn !== undefined)
    clock.advance(60_000)
    await turns()
    goOn?.()
    await fetched
    assert.ok(content.equals(slot.bytes))
  })

  it('does not blame the parent for a file that is slow with what came', async (test) => {
    const clock = new ManualClock()
    const parent = await rawParent(test, (socket) => socket.write(answer.subarray(0, -1)), {
      clock,
      stallTimeoutMs: 3000,
    })
    let moving = false
    const file = {
      silentMs: 0,
      fillFrom: (_: number, signal: AbortSignal): Promise<number> => {
        moving = true
        return abortable(new Promise<never>(() => undefined), signal)
      },
    }
    const slot = Object.assign(new PieceSlot(piece), file)
    const failed = assert.rejects(parent.child.read(parent.address, asked, slot, never), (error) =>
      PeerError.is(error, 'PARENT_UNREACHABLE'),
    )
    await until('it moves', () => moving && clock.delays.includes(3000))
    clock.advance(60_000)
    await turns()
    assert.equal(parent.openCount, 1)
    // Now it is the parent that sends nothing.
    slot.silentMs = 1000
    clock.advance(3000)
    await turns()
    assert.equal(parent.openCount, 1)
    slot.silentMs = 3000
    clock.advance(2000)
    await failed
  })

  it('resets the connection at once when it is aborted', async (test) => {
    for (const begun of [false, true]) {
      const waiting: Socket[] = []
      const parent = await rawParent(test, (socket) => {
        waiting.push(socket)
        if (begun) socket.write(answer.subarray(0, 50_000))
      })
      const abort = new AbortController()
      const slot = new PieceSlot(piece)
      const failed = assert.rejects(
        parent.child.read(parent.address, asked, slot, abort.signal),
        (error) => error === 'stop',
      )
      await until('it was asked', () => waiting.length === 1 && (!begun || slot.filled > 0))
      abort.abort('stop')
      await failed
      await until('the parent noticed', () => parent.openCount === 0)
      assert.equal(stateOf(parent).idleConnections, 0)
    }
  })

  it('opens nothing when it is aborted while it connects', async (test) => {
    const parent = await rawParent(test, (socket) => socket.write(answer))
    const abort = new AbortController()
    const failed = assert.rejects(readPiece(parent, abort.signal), (error) => error === 'stop')
    await Promise.resolve()
    abort.abort('stop')
    await failed
    await turns()
    assert.equal(parent.openCount, 0)
  })
})
