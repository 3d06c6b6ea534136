import assert from 'node:assert/strict'
import { ClientRequest, IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { HttpBody } from '../../src/source/http-body.ts'
import { HttpFault } from '../../src/source/http-fault.ts'
import { gate } from './gate.ts'

interface Played {
  readonly body: HttpBody
  readonly incoming: IncomingMessage
  readonly released: Uint8Array[]
  /** What Node does when the socket gives these bytes: first the parser, then the others that listen. */
  read(read: Uint8Array, chunks: readonly Uint8Array[]): void
}

/** A body without a connection. */
function played(idleTimeoutMs = 60_000): Played {
  const socket = new Socket()
  const incoming = new IncomingMessage(socket)
  const request = new ClientRequest({ createConnection: () => new Socket() })
  request.on('error', () => undefined)
  let parse = (): void => undefined
  socket.on('data', () => parse())
  const released: Uint8Array[] = []
  const release = (bytes: Uint8Array): void => void released.push(bytes)
  const body = new HttpBody(request, incoming, { idleTimeoutMs, release })
  return {
    body,
    incoming,
    released,
    read: (read, chunks) => {
      parse = () => {
        for (const chunk of chunks) incoming.push(chunk)
      }
      socket.emit('data', read)
    },
  }
}

/** Bytes with memory of their own. */
const memory = (byte: number): Buffer => Buffer.alloc(10, byte)

function copied(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(5000)]).subarray(0, bytes.length)
}

/** Has the body wait, and its stream flow. */
async function waiting({ body }: Played): Promise<Promise<Uint8Array>> {
  const next = body.next().then(({ value }) => value ?? assert.fail('It has ended'))
  await setImmediate()
  return next
}

test('HttpBody gives back what was read of the socket, once a chunk has shown that it is a copy', async () => {
  const play = played()
  const { body, released, read } = play
  const reads = [1, 2, 3, 4, 5].map(memory)
  const [first, second, third, fourth, fifth] = reads as [Buffer, Buffer, Buffer, Buffer, Buffer]
  // It waits in the stream, which does not flow yet.
  read(first, [copied(first)])
  assert.deepEqual((await body.next()).value, first)
  assert.deepEqual(released, [])
  // Nothing came of it; the chunk before says nothing about it.
  read(second, [])
  assert.deepEqual(released, [])
  const next = waiting(play)
  await setImmediate()
  read(third, [copied(third)])
  assert.deepEqual(await next, third)
  assert.deepEqual(released, [third])
  read(fourth, [copied(fourth)])
  read(fifth, [copied(fifth)])
  assert.deepEqual(released, [third, fourth, fifth])
  assert.deepEqual([(await body.next()).value, (await body.next()).value], [fourth, fifth])
  await body.return()
})

test('HttpBody keeps what was read of the socket when its chunk is a part of it', async () => {
  const play = played()
  const { body, released, read } = play
  for (const byte of [1, 2]) {
    const next = waiting(play)
    await setImmediate()
    const bytes = memory(byte)
    read(bytes, [bytes.subarray(1)])
    assert.deepEqual(await next, bytes.subarray(1))
  }
  assert.deepEqual(released, [])
  await body.return()
})

test('HttpBody counts no time that its reader takes, and ends when nothing comes while it waits', async () => {
  const { body, incoming } = played(20)
  incoming.push(Buffer.of(1))
  assert.deepEqual((await body.next()).value, Buffer.of(1))
  const begun = performance.now()
  await gate(() => performance.now() - begun > 60)
  incoming.push(Buffer.of(2))
  assert.deepEqual((await body.next()).value, Buffer.of(2))
  let late: unknown
  body.next().catch((error: unknown) => (late = error))
  await gate(() => late !== undefined)
  assert.ok(late instanceof HttpFault)
  assert.equal(late.code, 'IDLE_TIMEOUT')
  await assert.rejects(body.next(), late)
})
