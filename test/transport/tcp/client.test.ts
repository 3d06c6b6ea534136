import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createServer, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { PeerError } from '../../../src/errors.ts'
import { encodeContentHead, encodeError } from '../../../src/transport/vortex.ts'
import { ManualClock } from '../manual-clock.ts'
import { addressOf, never } from '../pair.ts'
import { PieceSlot } from '../piece-slot.ts'
import { turns, until } from '../until.ts'
import { answer, asked, content, head, piece, rawParent, readPiece, stateOf } from './raw-parent.ts'

describe('TcpClient: connections', () => {
  it('uses one connection for pieces one after another', async (test) => {
    const parent = await rawParent(test, (socket) => socket.write(answer))
    for (let count = 0; count < 20; count++) await readPiece(parent)
    assert.equal(parent.sockets.length, 1)
    assert.equal(stateOf(parent).idleConnections, 1)
  })

  it('uses as many connections as pieces at once, and keeps no more than it may', async (test) => {
    const waiting: Socket[] = []
    const parent = await rawParent(test, (socket) => void waiting.push(socket), {
      idlePerParentMax: 3,
    })
    const fetched = Promise.all([1, 2, 3, 4, 5].map(() => readPiece(parent)))
    await until('all have asked', () => waiting.length === 5)
    for (const socket of waiting) socket.write(answer)
    await fetched
    assert.equal(parent.sockets.length, 5)
    assert.equal(stateOf(parent).idleConnections, 3)
    await until('the others are closed', () => parent.openCount === 3)
  })

  it('keeps no more to all parents than it may', async (test) => {
    const first = await rawParent(test, (socket) => socket.write(answer), { idleMax: 1 })
    const second = await rawParent(test, (socket) => socket.write(answer))
    await readPiece(first)
    await first.child.read(second.address, asked, new PieceSlot(piece), never)
    assert.equal(stateOf(first).idleConnections, 1)
    await until('the other is closed', () => first.openCount + second.openCount === 1)
  })

  it('keeps none when it may keep none', async (test) => {
    const parent = await rawParent(test, (socket) => socket.write(answer), { idlePerParentMax: 0 })
    for (let count = 0; count < 3; count++) await readPiece(parent)
    assert.equal(parent.sockets.length, 3)
    await until('all are closed', () => parent.openCount === 0)
  })

  it('closes a kept connection after its time', async (test) => {
    const clock = new ManualClock()
    const parent = await rawParent(test, (socket) => socket.write(answer), {
      clock,
      idleTimeoutMs: 1000,
    })
    await readPiece(parent)
    clock.advance(999)
    await turns()
    assert.equal(parent.openCount, 1)
    clock.advance(1)
    await until('it is closed', () => parent.openCount === 0)
    assert.equal(stateOf(parent).idleConnections, 0)
    await readPiece(parent)
    assert.equal(parent.sockets.length, 2)
  })

  it('learns that a parent closes after one piece, as the Rust daemon does', async (test) => {
    const parent = await rawParent(test, (socket) => {
      socket.end(answer)
    })
    for (let count = 0; count < 10; count++) await readPiece(parent)
    assert.equal(parent.sockets.length, 10)
    assert.equal(stateOf(parent).idleConnections, 0)
    assert.equal(stateOf(parent).parentsThatClose.length, 1)
  })

  it('forgets that after ten minutes: another program may listen there', async (test) => {
    const clock = new ManualClock()
    let closes = true
    const parent = await rawParent(
      test,
      (socket) => {
        if (closes) socket.end(answer)
        else socket.write(answer)
      },
      { clock },
    )
    await readPiece(parent)
    await until('it has learnt', () => stateOf(parent).parentsThatClose.length === 1)
    closes = false
    await readPiece(parent)
    assert.equal(stateOf(parent).idleConnections, 0)
    clock.advance(600_000)
    await readPiece(parent)
    assert.equal(stateOf(parent).idleConnections, 1)
  })

  it('asks again when a kept connection dies before the first byte of the answer', async (test) => {
    // The second request is never read by such a parent: it closes with bytes unread, and that is a reset.
    let requests = 0
    const parent = await rawParent(test, (socket, _request, nth) => {
      requests = nth
      if (nth === 2) socket.resetAndDestroy()
      else socket.write(answer)
    })
    await readPiece(parent)
    await readPiece(parent)
    assert.equal(requests, 3)
    assert.equal(parent.sockets.length, 2)
    assert.equal(stateOf(parent).parentsThatClose.length, 1)
    await readPiece(parent)
    assert.equal(requests, 4)
    assert.equal(parent.sockets.length, 3, 'a parent that closes gets a new connection each time')
  })

  it('asks again once, not for ever', async (test) => {
    let requests = 0
    const parent = await rawParent(test, (socket, _request, nth) => {
      requests = nth
      if (nth === 1) socket.write(answer)
      else socket.resetAndDestroy()
    })
    await readPiece(parent)
    await assert.rejects(readPiece(parent), (error) => PeerError.is(error, 'PARENT_UNREACHABLE'))
    assert.equal(requests, 3)
  })

  it('does not use a connection again that brought more than the piece', async (test) => {
    const parent = await rawParent(test, (socket) =>
      socket.write(Buffer.concat([answer, Buffer.from('surplus')])),
    )
    for (let count = 0; count < 5; count++) await readPiece(parent)
    assert.equal(parent.sockets.length, 5)
  })

  it('keeps a connection that brought a refusal', async (test) => {
    const parent = await rawParent(test, (socket, _request, nth) =>
      socket.write(nth === 1 ? encodeError(2, 'not\nhere') : answer),
    )
    await assert.rejects(readPiece(parent), (error) => {
      assert.ok(PeerError.is(error, 'PARENT_REFUSED'))
      assert.deepEqual(error.details, { parent: 'parent-1', reason: 'not found: not here' })
      return true
    })
    await readPiece(parent)
    assert.equal(parent.sockets.length, 1)
  })

  it('forgets everything when it is closed', async (test) => {
    const parent = await rawParent(test, (socket) => socket.write(answer))
    await readPiece(parent)
    await parent.child.close()
    await until('the kept connection is closed', () => parent.openCount === 0)
  })
})

describe('TcpClient: what a parent sends', () => {
  it('takes an answer in any parts', async (test) => {
    const parent = await rawParent(test, (socket) => {
      const drip = (at: number): void => {
        socket.write(answer.subarray(at, at + 1))
        if (at < head.length + 20) setImmediate(drip, at + 1)
        else socket.write(answer.subarray(at + 1))
      }
      drip(0)
    })
    await readPiece(parent)
    await readPiece(parent)
    assert.equal(parent.sockets.length, 1)
  })

  const metadata = {
    ...piece,
    kind: 'standard',
    digest: '',
    parentId: '',
    costSeconds: 0,
    createdAtSeconds: 0,
  } as const
  const changed = (at: number, value: number): Buffer => {
    const bytes = Buffer.from(answer)
    bytes.writeUInt32BE(value, at)
    return bytes
  }
  const wrong: [string, Buffer, string][] = [
    ['another number', encodeContentHead({ ...metadata, number: 4 }), 'piece number'],
    ['another offset', encodeContentHead({ ...metadata, offset: 0 }), 'piece offset'],
    ['a shorter piece', encodeContentHead({ ...metadata, length: 99_999 }), 'piece length'],
    ['a longer piece', encodeContentHead({ ...metadata, length: 2 ** 40 }), 'piece length'],
    ['another kind of task', encodeContentHead({ ...metadata, kind: 'persistent' }), 'task kind'],
    ['a frame without end', changed(2, 0xffff_ffff), 'answer length'],
    ['metadata without end', changed(6, 0xffff_ffff), 'metadata length'],
    ['a digest without end', changed(30, 0xffff_ffff), 'digest length'],
    ['an error without end', Buffer.from([0, 255, 255, 255, 255, 255, 3]), 'answer length'],
    ['an HTTP answer', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), 'tag'],
    ['a request', Buffer.concat([Buffer.from('000000000044', 'hex'), content]), 'tag'],
  ]
  for (const [name, bytes, what] of wrong) {
    it(`says PARENT_PROTOCOL for ${name}, and cuts the connection`, async (test) => {
      const parent = await rawParent(test, (socket) =>
        socket.write(Buffer.concat([bytes, content])),
      )
      const slot = new PieceSlot(piece)
      await assert.rejects(parent.child.read(parent.address, asked, slot, never), (error) => {
        assert.ok(PeerError.is(error, 'PARENT_PROTOCOL'), String(error))
        assert.equal(error.details.what, what)
        return true
      })
      assert.equal(slot.filled, 0)
      await until('it is closed', () => parent.openCount === 0)
    })
  }

  it('says PARENT_PROTOCOL or PARENT_UNREACHABLE for garbage', async (test) => {
    const parent = await rawParent(test, (socket) => socket.end(randomBytes(3000)))
    for (let count = 0; count < 30; count++) {
      await assert.rejects(readPiece(parent), (error) =>
        PeerError.is(error, 'PARENT_PROTOCOL', 'PARENT_UNREACHABLE', 'PARENT_REFUSED'),
      )
    }
  })

  it('says PARENT_UNREACHABLE when the parent ends too early', async (test) => {
    for (const count of [0, 5, head.length, head.length + 1, answer.length - 1]) {
      const parent = await rawParent(test, (socket) => {
        socket.end(answer.subarray(0, count))
      })
      const slot = new PieceSlot(piece)
      await assert.rejects(parent.child.read(parent.address, asked, slot, never), (error) => {
        assert.ok(PeerError.is(error, 'PARENT_UNREACHABLE'), String(error))
        return true
      })
      assert.equal(slot.filled, Math.max(0, count - head.length))
    }
  })

  it('says PARENT_UNREACHABLE when nobody listens', async (test) => {
    const parent = await rawParent(test, () => undefined)
    const server = createServer().listen(0, '127.0.0.1')
    await until('it listens', () => server.listening)
    const at = server.address()
    assert.ok(at !== null && typeof at === 'object')
    server.close()
    const nobody = addressOf({ ip: '127.0.0.1', port: at.port })
    await assert.rejects(
      parent.child.read(nobody, asked, new PieceSlot(piece), never),
      (error) =>
        PeerError.is(error, 'PARENT_UNREACHABLE') && error.details.reason === 'ECONNREFUSED',
    )
  })

  it('reaches literal addresses with a usable port alone', async (test) => {
    const { child } = await rawParent(test, () => undefined)
    const cases: [string, number | undefined, boolean][] = [
      ['127.0.0.1', 4005, true],
      ['::1', 4005, true],
      ['localhost', 4005, false],
      ['', 4005, false],
      ['127.0.0.1', undefined, false],
      ['127.0.0.1', 0, false],
      ['127.0.0.1', 65_536, false],
      ['127.0.0.1', 1.5, false],
    ]
    for (const [ip, tcpPort, reached] of cases) {
      const { parent } = addressOf({ ip: '127.0.0.1', port: 1 })
      const endpoint = tcpPort === undefined ? { ip } : { ip, tcpPort }
      assert.equal(child.reaches({ parent, endpoint }), reached, `${ip} ${tcpPort}`)
    }
  })

  it('does not ask for a task id that the protocol cannot carry', async (test) => {
    const parent = await rawParent(test, () => undefined)
    const request = { ...asked, taskId: 'a'.repeat(128) }
    await assert.rejects(
      parent.child.read(parent.address, request, new PieceSlot(piece), never),
      (error) => PeerError.is(error, 'PARENT_UNREACHABLE'),
    )
    assert.equal(parent.sockets.length, 0)
  })
})
