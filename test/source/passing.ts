import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { MemoryStore } from '../../src/storage/memory-store.ts'
import type { KeptTask } from '../../src/storage/store.ts'
import { readPiece } from '../../src/task/origin-read.ts'
import { geometry, pieceAt } from '../../src/task/piece.ts'
import type { Origin, Slot } from '../../src/task/ports.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { digestOf, MiB, never, record } from '../storage/filling.ts'

/** Three long pieces and a short one. */
export const content: Content = new Content(3 * 4 * MiB + 300_001)

/** A task in memory that misses all of its pieces. */
export interface Scene {
  readonly task: KeptTask
  /** A slot for a piece. */
  slot(number: number): Promise<Slot>
  /** Reads a piece and compares its digest. */
  read(origin: Origin, number: number, signal?: AbortSignal): Promise<void>
  /** Gives its memory back before the test ends. */
  end(): Promise<void>
}

/** A new one. */
export async function scene(t: TestContext): Promise<Scene> {
  const store = new MemoryStore({ bytesMax: 64 * MiB })
  let closed: Promise<void> | undefined
  const end = async (): Promise<void> => (closed ??= store.close())
  cleanup(t, end)
  const task = await store.create(record(), geometry(content.length))
  const slot = async (number: number): Promise<Slot> => task.slot(number, never)
  return {
    task,
    slot,
    end,
    async read(origin, number, signal = never) {
      const open = await slot(number)
      try {
        const piece = pieceAt(task.geometry, number)
        await readPiece({ origin, shownUrl: '', validator: undefined }, piece, open, signal)
        assert.equal(await open.finish(), digestOf(content, piece))
      } finally {
        open.release()
      }
    },
  }
}

/** A slot with another way past JavaScript. */
export function filledBy(slot: Slot, fillFrom: NonNullable<Slot['fillFrom']>): Slot {
  return {
    fillFrom,
    piece: slot.piece,
    get filled() {
      return slot.filled
    },
    space: () => slot.space(),
    fill: (count) => slot.fill(count),
    drained: async () => slot.drained(),
    rewind: async () => slot.rewind(),
    finish: async () => slot.finish(),
    release: () => slot.release(),
  }
}

/** An origin that counts the bytes it yields. */
export interface Watched extends Origin {
  readonly yielded: number
}

/** Counts what an origin yields. */
export function watched(origin: Origin): Watched {
  let yielded = 0
  return {
    get yielded() {
      return yielded
    },
    stat: async (signal) => origin.stat(signal),
    async *read(part, signal) {
      for await (const chunk of origin.read(part, signal)) {
        yielded += chunk.length
        yield chunk
      }
    },
  }
}

/** Answers a request for a part with the first half of it, and falls silent. Resolves when it has left the process. */
export async function half(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [first, last] = rangeOf(request.headers.range)
  const length = last - first + 1
  response.writeHead(206, fieldsOf(first, length))
  await new Promise((resolve) => response.write(content.bytes(first, length >> 1), resolve))
}

/** Answers a request for a part with parts of these lengths, again and again, waiting a turn after each, and breaks off behind so many bytes. */
export async function inParts(
  request: IncomingMessage,
  response: ServerResponse,
  parts: readonly number[],
  breaks: number = Number.POSITIVE_INFINITY,
): Promise<void> {
  const [first, last] = rangeOf(request.headers.range)
  response.writeHead(206, fieldsOf(first, last - first + 1))
  const end = Math.min(last + 1, first + breaks)
  for (let at = first, turn = 0; at < end && !response.destroyed; turn++) {
    const length = Math.min(parts[turn % parts.length] ?? MiB, end - at)
    await new Promise((resolve) => response.write(content.bytes(at, length), resolve))
    at += length
  }
  if (end <= last) response.destroy()
  else response.end()
}

/** Writes each part when the one before has been read, if its reader is in this process. */
export async function inTurns(
  socket: Socket,
  parts: readonly (Uint8Array | string)[],
): Promise<void> {
  for (const part of parts) {
    socket.write(part)
    // Of two turns of the event loop one is whole.
    await nextTurn()
    await nextTurn()
  }
}

/** The fields of an answer with a part, as they go over the wire. */
export function head(first: number, length: number): string {
  const fields = Object.entries(fieldsOf(first, length)).map(([name, value]) => `${name}: ${value}`)
  return ['HTTP/1.1 206 Partial Content', ...fields, '', ''].join('\r\n')
}

/** A server that answers each request for a part as it likes. */
export async function rawServer(
  t: TestContext,
  answer: (socket: Socket, range: readonly [number, number]) => void,
): Promise<{ readonly url: string; accepted(): number }> {
  let accepted = 0
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    accepted += 1
    sockets.add(socket)
    let asked = ''
    socket.on('data', (bytes) => {
      asked += bytes.toString('latin1')
      if (!asked.endsWith('\r\n\r\n')) return
      const range = rangeOf(/^range: (.*)$/im.exec(asked)?.[1]?.trim())
      asked = ''
      answer(socket, range)
    })
    socket.on('error', () => undefined)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanup(t, async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}/`, accepted: () => accepted }
}

function rangeOf(text: string | undefined): readonly [number, number] {
  const found = /^bytes=(\d+)-(\d+)$/.exec(text ?? '')
  return found === null ? assert.fail(`No range: ${text}`) : [Number(found[1]), Number(found[2])]
}

function fieldsOf(first: number, length: number): Readonly<Record<string, string | number>> {
  return {
    'content-range': `bytes ${first}-${first + length - 1}/${content.length}`,
    'content-length': length,
    etag: '"one"',
  }
}
