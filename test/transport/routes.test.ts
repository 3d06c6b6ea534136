import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, it, type TestContext } from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { crc32 } from '../../src/hash/crc32.ts'
import type { Received, Slot } from '../../src/task/ports.ts'
import { protocolBroken, refused, unreachable } from '../../src/transport/parent-errors.ts'
import { Routes } from '../../src/transport/routes.ts'
import type { Transport } from '../../src/transport/transport.ts'
import { addressOf, never } from './pair.ts'
import { taskId } from './piece-shelf.ts'
import { PieceSlot } from './piece-slot.ts'

const from = addressOf({ ip: '127.0.0.1', port: 1 })
const asked = {
  taskId,
  kind: 'standard',
  piece: { number: 0, offset: 0, length: 10 },
} as const

/** A transport that does one thing when it is asked to read. */
function way(name: string, read: (slot: Slot) => Promise<Received>, reaches = true): Transport {
  return {
    name,
    reaches: () => reaches,
    read: (_from, _request, slot) => read(slot),
    listen: () => Promise.resolve(undefined),
    explain: () => undefined,
    close: () => Promise.resolve(),
    destroy: () => undefined,
  }
}

const works = (digest: string) => (): Promise<Received> => Promise.resolve({ digest })
const fails = (error: unknown) => async (): Promise<Received> => {
  throw error
}
const broken = protocolBroken('parent-1', { what: 'tag', expected: 'a piece', actual: '9' })

function fallbacks(test: TestContext): unknown[] {
  const told: unknown[] = []
  const note = (message: unknown): void => {
    told.push(message)
  }
  subscribe('dragonfly-peer:transport:fallback', note)
  test.after(() => unsubscribe('dragonfly-peer:transport:fallback', note))
  return told
}

function readOver(transports: Transport[], slot = new PieceSlot(asked.piece)): Promise<Received> {
  return new Routes(transports).read(from, asked, slot, never)
}

describe('Routes.read()', () => {
  it('takes the first way that reaches the parent', async (test) => {
    const told = fallbacks(test)
    const got = await readOver([
      way('no', works('no'), false),
      way('a', works('a')),
      way('b', works('b')),
    ])
    assert.deepEqual(got, { digest: 'a', transport: 'a' })
    assert.deepEqual(told, [])
  })

  for (const error of [unreachable('parent-1', 'ECONNRESET'), broken]) {
    it(`takes the next one after ${error.code}, and tells of it`, async (test) => {
      const told = fallbacks(test)
      const got = await readOver([way('rdma', fails(error)), way('tcp', works('b'))])
      assert.deepEqual(got, { digest: 'b', transport: 'tcp' })
      assert.deepEqual(told, [
        { parent: 'parent-1', from: 'rdma', to: 'tcp', reason: error.message },
      ])
    })
  }

  it('gives up with the error of the last way', async () => {
    const last = unreachable('parent-1', 'last')
    await assert.rejects(readOver([way('a', fails(broken)), way('b', fails(last))]), last)
  })

  it('tries nothing else after a refusal, or an error that is none of the parent', async () => {
    for (const error of [refused('parent-1', 'no'), new RangeError('bug')]) {
      await assert.rejects(readOver([way('a', fails(error)), way('b', works('b'))]), error)
    }
  })

  const broke = unreachable('parent-1', 'broke off')
  const fills = (count: number, end: () => Promise<Received>) => (slot: Slot) => {
    assert.equal(slot.filled, 0)
    slot.space()?.fill(count)
    slot.fill(count)
    return end()
  }

  it('forgets the bytes of a way that broke off before the next one begins', async (test) => {
    const told = fallbacks(test)
    const slot = new PieceSlot(asked.piece)
    const begins = fills(7, fails(broke))
    await readOver([way('a', begins), way('b', fills(10, works('b')))], slot)
    assert.equal(await slot.finish(), `crc32:${crc32(new Uint8Array(10).fill(10))}`)
    assert.deepEqual(told, [{ parent: 'parent-1', from: 'a', to: 'b', reason: broke.message }])
  })

  it('waits for a transfer that has not told of any byte before the next one begins', async () => {
    const slot = new PieceSlot(asked.piece)
    const order: string[] = []
    const rewind = slot.rewind.bind(slot)
    slot.rewind = async () => {
      await new Promise((resolve) => setImmediate(resolve))
      order.push('nothing is on its way')
      await rewind()
    }
    const second = (filled: Slot): Promise<Received> => {
      order.push('next')
      return fills(10, works('b'))(filled)
    }
    await readOver([way('a', fails(broke)), way('b', second)], slot)
    assert.deepEqual(order, ['nothing is on its way', 'next'])
  })

  it('gives up with the error of the slot when that cannot forget', async () => {
    const full = new PeerError('NO_SPACE', 'Full', { path: '/', needed: 1 })
    const slot = new PieceSlot(asked.piece)
    slot.rewind = () => Promise.reject(full)
    const begins = fills(1, fails(broke))
    await assert.rejects(readOver([way('a', begins), way('b', works('b'))], slot), full)
  })

  it('tries nothing else once the piece is complete', async () => {
    const all = fills(10, fails(broke))
    await assert.rejects(readOver([way('a', all), way('b', works('b'))]), broke)
  })

  it('tries nothing else after it was aborted', async () => {
    const abort = new AbortController()
    const routes = new Routes([
      way('a', () => {
        abort.abort(broken)
        return Promise.reject(broken)
      }),
      way('b', works('b')),
    ])
    await assert.rejects(routes.read(from, asked, new PieceSlot(asked.piece), abort.signal), broken)
  })

  it('says PARENT_UNREACHABLE when no way leads there', async () => {
    assert.equal(new Routes([]).reaches(from), false)
    assert.equal(new Routes([way('a', works('a'))]).reaches(from), true)
    await assert.rejects(readOver([way('a', works('a'), false)]), (error) =>
      PeerError.is(error, 'PARENT_UNREACHABLE'),
    )
  })
})
