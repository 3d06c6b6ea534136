import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { PeerError } from '../../../src/errors.ts'
import { type TcpOptions, tcp } from '../../../src/transport/tcp/tcp.ts'
import type { Transport } from '../../../src/transport/transport.ts'
import { AnswerDecoder, type AnswerHead, encodeRequest } from '../../../src/transport/vortex.ts'
import { TokenBucket } from '../../../src/util/rate.ts'
import { hostOf, type PairOptions } from '../pair.ts'
import { ManualClock } from '../manual-clock.ts'
import { contentOf, PieceShelf, taskId } from '../piece-shelf.ts'
import { turns, until } from '../until.ts'

const MiB = 1024 * 1024

/** A child that is only a socket. */
interface RawChild {
  readonly socket: Socket
  /** Everything that came. */
  readonly bytes: () => Buffer
  readonly closed: () => boolean
}

interface Server {
  readonly transport: Transport
  readonly connect: () => Promise<RawChild>
}

async function serve(
  test: TestContext,
  shelf: PieceShelf,
  options: TcpOptions & PairOptions = {},
): Promise<Server> {
  const { uploadRate, uploadSlots, clock, ...rest } = options
  const host = hostOf(shelf, {
    ...(uploadRate === undefined ? {} : { uploadRate }),
    ...(uploadSlots === undefined ? {} : { uploadSlots }),
    ...(clock === undefined ? {} : { clock }),
  })
  const transport = tcp(rest)(host)
  const sockets: Socket[] = []
  test.after(() => {
    for (const socket of sockets) socket.destroy()
    transport.destroy(new Error('The test is over'))
  })
  const at = await transport.listen()
  assert.ok(at !== undefined)
  const open = async (): Promise<RawChild> => {
    const chunks: Buffer[] = []
    let closed = false
    const socket = connect({ host: at.ip, port: at.port, allowHalfOpen: true })
    sockets.push(socket)
    socket.on('data', (bytes: Buffer) => chunks.push(bytes))
    socket.on('end', () => {
      closed = true
      socket.end()
    })
    // A reset is an end, too.
    socket.on('error', () => undefined)
    socket.on('close', () => {
      closed = true
    })
    await new Promise<void>((resolve) => socket.once('connect', resolve))
    return { socket, bytes: () => Buffer.concat(chunks), closed: () => closed }
  }
  return { transport, connect: open }
}

function request(number: number): Buffer {
  return encodeRequest({ kind: 'standard', taskId, number })
}

/** Takes apart what came over one connection: heads and the bytes behind them. */
function answersIn(bytes: Buffer): { answer: AnswerHead; content: Buffer }[] {
  const answers: { answer: AnswerHead; content: Buffer }[] = []
  for (let at = 0; at < bytes.length; ) {
    const decoder = new AnswerDecoder()
    let answer: AnswerHead | undefined
    while (answer === undefined) {
      const space = decoder.space()
      const count = bytes.copy(space, 0, at, at + space.length)
      at += count
      answer = decoder.fill(count)
      if (count === 0 && answer === undefined) return answers
    }
    const length = answer.is === 'content' ? answer.head.length : 0
    answers.push({ answer, content: bytes.subarray(at, at + length) })
    at += length
  }
  return answers
}

function pieceIn(shelf: PieceShelf, number: number): Buffer {
  const { pieceLength } = shelf.cut
  return shelf.content.subarray(number * pieceLength, (number + 1) * pieceLength)
}

describe('TcpServer: half-open connections', () => {
  for (const where of ['memory', 'disk'] as const) {
    it(`sends 40 MiB from ${where} to children that end their half after the head`, async (test) => {
      const shelf = new PieceShelf(contentOf(40 * MiB), 4 * MiB, where)
      // The gate keeps back all but the first part until the FIN is through: it must not find everything in the kernel already.
      let finished: Promise<void> = Promise.resolve()
      let parts = 0
      const uploadRate = {
        take: async (): Promise<void> => {
          if (parts++ % 16 === 1) await finished
        },
      }
      const server = await serve(test, shelf, { uploadRate })
      for (let number = 0; number < 10; number++) {
        const child = await server.connect()
        finished = new Promise((resolve) => {
          child.socket.once('finish', () => void turns().then(resolve))
        })
        child.socket.write(request(number))
        // As the Rust client does: the head, and then FIN, with megabytes to come.
        child.socket.once('data', () => child.socket.end())
        await until('the parent ends', child.closed)
        const [only] = answersIn(child.bytes())
        assert.ok(only?.answer.is === 'content')
        assert.equal(only.answer.head.number, number)
        assert.ok(only.content.equals(pieceIn(shelf, number)))
      }
      await until('all pieces are closed', () => shelf.openCount === 0)
    })
  }

  it('serves a child that ends its half with the request', async (test) => {
    const shelf = new PieceShelf(contentOf(5 * MiB), 5 * MiB)
    shelf.hold(0)
    const server = await serve(test, shelf)
    const child = await server.connect()
    child.socket.end(request(0))
    await until('it was asked', () => shelf.asked.length === 1)
    await turns()
    shelf.arrive(0)
    await until('the parent ends', child.closed)
    assert.ok(answersIn(child.bytes())[0]?.content.equals(shelf.content))
  })
})

describe('TcpServer: requests', () => {
  it('answers several on one connection, in order', async (test) => {
    const shelf = new PieceShelf(contentOf(10 * 1000), 1000)
    const server = await serve(test, shelf)
    const child = await server.connect()
    const numbers = [3, 1, 99, 4]
    child.socket.write(Buffer.concat(numbers.map(request)))
    child.socket.end(request(5).subarray(0, 10))
    await until('the parent ends', child.closed)
    const answers = answersIn(child.bytes())
    assert.deepEqual(
      answers.map(({ answer }) => (answer.is === 'content' ? answer.head.number : answer)),
      [3, 1, { is: 'refused', code: 2, reason: 'not found: No such piece here' }, 4],
    )
    assert.ok(answers[3]?.content.equals(pieceIn(shelf, 4)))
  })

  it('sends head and content of a small piece in one segment', async (test) => {
    const shelf = new PieceShelf(contentOf(100), 100)
    const server = await serve(test, shelf)
    const child = await server.connect()
    const first = new Promise<Buffer>((resolve) => child.socket.once('data', resolve))
    child.socket.write(request(0))
    assert.ok(answersIn(await first)[0]?.content.equals(shelf.content))
  })

  it('answers with an internal error that tells nothing', async (test) => {
    const shelf = new PieceShelf(contentOf(100), 100)
    const server = await serve(test, shelf)
    for (const failure of [
      new PeerError('STORE_FAILED', 'x', { path: '/secret', operation: 'open', errno: 'EIO' }),
      new PeerError('CLOSED', 'secret', { what: 'store' }),
      new TypeError('secret is undefined'),
    ]) {
      shelf.failure = failure
      const child = await server.connect()
      child.socket.end(request(0))
      await until('the parent ends', child.closed)
      assert.doesNotMatch(child.bytes().toString('latin1'), /secret|EIO/)
      const [only] = answersIn(child.bytes())
      assert.ok(only?.answer.is === 'refused' && only.answer.code === 3)
    }
  })

  const bad: [string, (bytes: Buffer) => void][] = [
    ['the cache tag', (bytes) => bytes.writeUInt8(6, 1)],
    ['an unknown tag', (bytes) => bytes.writeUInt8(9, 1)],
    ['the close tag', (bytes) => bytes.writeUInt8(254, 1)],
    ['a content tag', (bytes) => bytes.writeUInt8(1, 1)],
    ['a value that is too short', (bytes) => bytes.writeUInt32BE(67, 2)],
    ['a value that is too long', (bytes) => bytes.writeUInt32BE(69, 2)],
    ['a value without end', (bytes) => bytes.writeUInt32BE(0xffff_ffff, 2)],
    ['a path as task id', (bytes) => bytes.write('../'.repeat(21), 6)],
    ['an absolute path', (bytes) => bytes.write('/etc/passwd\0', 6)],
    ['upper-case digits', (bytes) => bytes.write('ABCD', 6)],
  ]
  for (const [name, change] of bad) {
    it(`closes without an answer for ${name}`, async (test) => {
      const shelf = new PieceShelf(contentOf(100), 100)
      const server = await serve(test, shelf)
      const child = await server.connect()
      const bytes = request(0)
      change(bytes)
      child.socket.write(bytes)
      await until('it is closed', child.closed)
      assert.equal(child.bytes().length, 0)
      assert.equal(shelf.asked.length, 0)
    })
  }

  it('closes when half a request is all that comes', async (test) => {
    const shelf = new PieceShelf(contentOf(100), 100)
    const server = await serve(test, shelf)
    const child = await server.connect()
    child.socket.end(request(0).subarray(0, 73))
    await until('it is closed', child.closed)
    assert.equal(child.bytes().length + shelf.asked.length, 0)
  })

  it('closes when a request comes too slowly', async (test) => {
    const clock = new ManualClock()
    const shelf = new PieceShelf(contentOf(100), 100)
    const server = await serve(test, shelf, { clock, requestTimeoutMs: 1000 })
    const child = await server.connect()
    const bytes = request(0)
    for (let at = 0; at < 10; at++) {
      assert.equal(child.closed(), false)
      child.socket.write(bytes.subarray(at, at + 1))
      await turns(5)
      clock.advance(100)
    }
    await until('it is closed', child.closed)
  })

  it('counts that time anew after each piece', async (test) => {
    const clock = new ManualClock()
    const shelf = new PieceShelf(contentOf(100), 100)
    const server = await serve(test, shelf, { clock, requestTimeoutMs: 1000 })
    const child = await server.connect()
    for (let count = 1; count <= 3; count++) {
      clock.advance(999)
      child.socket.write(request(0))
      await until('it has answered', () => answersIn(child.bytes()).length === count)
      await until('it waits for the next', () => clock.delays.includes(1000))
    }
    clock.advance(1000)
    await until('it is closed', child.closed)
  })

  it('cuts a child that asks too much ahead', async (test) => {
    const shelf = new PieceShelf(contentOf(100), 100)
    shelf.hold(0)
    const server = await serve(test, shelf)
    const child = await server.connect()
    child.socket.write(Buffer.concat(Array.from({ length: 100 }, () => request(0))))
    await until('it is closed', child.closed)
    await until('nothing waits', () => !JSON.stringify(server.transport.explain()).includes(taskId))
  })

  it('closes connections beyond its limit when all others ask for something', async (test) => {
    const shelf = new PieceShelf(contentOf(100), 100)
    shelf.hold(0)
    const server = await serve(test, shelf, { connectionsMax: 2 })
    const children = [await server.connect(), await server.connect()]
    for (const { socket } of children) socket.write(request(0))
    await until('both have asked', () => shelf.asked.length === 2)
    const third = await server.connect()
    await until('the third is closed', third.closed)
    shelf.arrive(0)
    await until('both are served', () =>
      children.every((child) => answersIn(child.bytes()).length === 1),
    )
  })

  it('lets the oldest connection that never asked give way to a new one, then the oldest that asks nothing', async (test) => {
    const shelf = new PieceShelf(contentOf(100), 100)
    const server = await serve(test, shelf, { connectionsMax: 3 })
    const served = await server.connect()
    served.socket.write(request(0))
    await until('it is served', () => answersIn(served.bytes()).length === 1)
    const older = await server.connect()
    const newer = await server.connect()
    const fourth = await server.connect()
    await until('the older one is closed', older.closed)
    for (const child of [newer, fourth]) {
      child.socket.write(request(0))
      await until('it is served', () => answersIn(child.bytes()).length === 1)
    }
    await server.connect()
    await until('the one that was served first is closed', served.closed)
    assert.equal(newer.closed() || fourth.closed(), false)
  })
})

describe('TcpServer: children that go or stop', () => {
  for (const where of ['memory', 'disk'] as const) {
    it(`lets go of a piece from ${where} when the child disconnects in the middle`, async (test) => {
      const shelf = new PieceShelf(contentOf(16 * MiB), 16 * MiB, where)
      const server = await serve(test, shelf, { uploadSlots: 2 })
      // More often than there are slots and buffers: each of them must come back.
      for (let count = 0; count < 6; count++) {
        const child = await server.connect()
        child.socket.write(request(0))
        await new Promise((resolve) => child.socket.once('data', resolve))
        child.socket.destroy()
      }
      await until('all pieces are closed', () => shelf.openCount === 0)
      const child = await server.connect()
      child.socket.end(request(0))
      await until('the parent ends', child.closed)
      assert.ok(answersIn(child.bytes())[0]?.content.equals(shelf.content))
    })

    it(`cuts a child that stops reading a piece from ${where}`, async (test) => {
      const clock = new ManualClock()
      const shelf = new PieceShelf(contentOf(64 * MiB), 64 * MiB, where)
      const server = await serve(test, shelf, { clock, stallTimeoutMs: 5000, uploadSlots: 1 })
      const child = await server.connect()
      child.socket.pause()
      child.socket.write(request(0))
      await until('it is served', () => shelf.openCount === 1)
      // The kernel takes what fits into its buffers; then nothing moves any more.
      for (let count = 0; count < 20 && shelf.openCount > 0; count++) {
        await turns(50)
        clock.advance(1000)
      }
      await until('the piece is closed', () => shelf.openCount === 0)
      const next = await server.connect()
      next.socket.end(request(0))
      await until('the next one is served', next.closed)
      assert.ok(answersIn(next.bytes())[0]?.content.equals(shelf.content))
    })
  }

  it('does not cut a child that waits for its turn in the rate', async (test) => {
    const clock = new ManualClock()
    const uploadRate = new TokenBucket({ bytesPerSecond: 1000, clock })
    const shelf = new PieceShelf(contentOf(300_000), 300_000)
    const server = await serve(test, shelf, { clock, uploadRate, stallTimeoutMs: 5000 })
    const child = await server.connect()
    child.socket.end(request(0))
    await until('it waits', () => uploadRate.waiting === 1)
    clock.advance(200_000)
    await turns()
    clock.advance(200_000)
    await until('the parent ends', child.closed)
    assert.ok(answersIn(child.bytes())[0]?.content.equals(shelf.content))
  })

  it('gives up a piece that does not appear', async (test) => {
    const clock = new ManualClock()
    const shelf = new PieceShelf(contentOf(100), 100)
    shelf.hold(0)
    const server = await serve(test, shelf, { clock, holdTimeoutMs: 9000 })
    const child = await server.connect()
    child.socket.write(request(0))
    await until('it was asked', () => shelf.asked.length === 1)
    clock.advance(9000)
    await until('it has answered', () => child.bytes().length > 0)
    const [only] = answersIn(child.bytes())
    assert.ok(only?.answer.is === 'refused' && only.answer.code === 3)
  })

  it('close() ends connections that wait for a request', async (test) => {
    const shelf = new PieceShelf(contentOf(100), 100)
    const server = await serve(test, shelf)
    const child = await server.connect()
    await turns()
    await server.transport.close()
    await until('it is closed', child.closed)
  })

  it('destroy() right after listen() leaves nothing open', async () => {
    const transport = tcp()(hostOf(new PieceShelf(contentOf(1), 1)))
    const listening = transport.listen()
    transport.destroy(new Error('enough'))
    await assert.rejects(listening, (error) => PeerError.is(error, 'CLOSED'))
  })
})

describe('tcp()', () => {
  it('refuses options that do not exist or are out of their range', () => {
    assert.throws(() => tcp({ timeout: 1 } as TcpOptions), /tcp\.timeout/)
    assert.throws(() => tcp({ connectTimeoutMs: 0 }), /tcp\.connectTimeoutMs/)
    assert.throws(() => tcp({ connectionsMax: 1.5 }), RangeError)
  })
})
