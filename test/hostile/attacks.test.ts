import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { encodeRequest } from '../../src/transport/vortex.ts'
import {
  callHeaders,
  endlessHeaders,
  endlessMessage,
  frame,
  hello,
  longRequest,
  type Place,
} from './attacks.ts'
import { type Scene, scene } from './scene.ts'

/** Attacks go over loopback only, and are bounded in number and in time. The figures of the victim are read from /proc. */
const options = { timeout: 60_000, skip: process.platform !== 'linux' }

const mib = 1024 * 1024
/** Growth of the resident memory of the victim that an attack may cost. */
const growthBytesMax = 160 * mib
/** What both ends of the connections and the rest of a process need beside them. */
const descriptorsSpare = 500
/** Connections that are tried in all, where the system lets this process have so many descriptors. */
const connectionsWanted = 10_000

/** Descriptors that this process may have. Node raises the limit to the hard one by itself. */
function descriptorsAllowed(): number {
  const limits = readFileSync('/proc/self/limits', 'utf8')
  return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? 1024)
}

/** Holds what an attack may cost against what it costs, and downloads through the attacked ports meanwhile. */
async function endures(
  { figures, serves }: Scene,
  descriptorsMax: number,
  attack: () => Promise<void>,
): Promise<void> {
  await serves()
  const before = figures()
  await attack()
  await serves()
  const after = figures()
  const grown = after.residentBytes - before.residentBytes
  assert.ok(grown < growthBytesMax, `${Math.round(grown / mib)} MiB more`)
  assert.ok(after.descriptors < descriptorsMax, `${after.descriptors} descriptors`)
}

/** Opens so many connections, some at a time. */
async function many(
  { attack }: Scene,
  place: Place,
  count: number,
  begin?: (socket: Socket, at: number) => void,
): Promise<void> {
  for (let at = 0; at < count; at += 50) {
    const some = Array.from({ length: Math.min(50, count - at) }, (_, each) =>
      attack.connect(place, (socket) => begin?.(socket, at + each)),
    )
    await Promise.all(some)
  }
}

const ports = ['pieces', 'upload', 'scheduler', 'socket'] as const

test('A peer serves others while thousands of connections ask for nothing', options, async (t) => {
  const on = await scene(t)
  const allowed = descriptorsAllowed()
  const count = Math.min(connectionsWanted, allowed - 2000)
  if (count < connectionsWanted)
    t.diagnostic(`${count} connections: ${allowed} descriptors allowed`)
  // 1024 for each of three ports and 512 for the socket are the limits of the peer itself.
  const descriptorsMax = 3 * 1024 + 512 + descriptorsSpare
  await endures(on, descriptorsMax, async () => {
    for (const port of ports) await many(on, on.places[port], Math.floor(count / ports.length))
  })
})

test('A peer serves others while many connections send a byte now and then', options, async (t) => {
  const on = await scene(t)
  const piece = encodeRequest({ kind: 'standard', taskId: 'a'.repeat(64), number: 0 })
  const call = await callHeaders('/dfdaemon.v2.DfdaemonUpload/SyncPieces')
  const begin = (socket: Socket, at: number, bytes: Uint8Array): void => {
    // Some hold a call that has begun, and drip its message.
    if (bytes === call && at % 2 === 0) {
      socket.write(call)
      on.attack.drip(socket, frame(0, 0, 1, Buffer.from([0])), 50)
    } else on.attack.drip(socket, bytes, 50)
    socket.resume()
  }
  await endures(on, 4000, async () => {
    for (const port of ports) {
      const bytes = port === 'pieces' ? piece : call
      await many(on, on.places[port], 300, (socket, at) => begin(socket, at, bytes))
    }
  })
  // The piece port gives each of them a second for its request.
  const deadline = performance.now() + 10_000
  while (on.figures().descriptors > 1100 && performance.now() < deadline) await on.serves()
  assert.ok(on.figures().descriptors <= 1100, `${on.figures().descriptors} descriptors`)
})

test(
  'A peer serves others while one address asks for pieces and takes none',
  options,
  async (t) => {
    // Nobody is cut off for being slow while this test runs.
    const on = await scene(t, 120_000)
    const request = encodeRequest({ kind: 'standard', taskId: on.task, number: 0 })
    const pieces = { ...on.places.pieces, localAddress: '127.0.0.2' }
    await endures(on, 1000, async () => {
      await many(on, pieces, 100, (socket) => socket.write(Buffer.concat([request, request])))
    })
    assert.ok(on.attack.open > 90)
  },
)

test(
  'A peer takes no memory for lengths of 2³²−1 and for headers without end',
  options,
  async (t) => {
    const on = await scene(t)
    const headers = endlessHeaders(2000)
    const { places, attack } = on
    await endures(on, 1000, async () => {
      for (let count = 0; count < 50; count++) {
        await attack.connect(places.pieces, (socket) => socket.write(longRequest(0xffff_ffff)))
        const tooLong = Buffer.concat([hello, frame(0, 0, 1, endlessMessage)])
        tooLong.writeUIntBE(0xff_ffff, hello.length, 3)
        await attack.connect(places.upload, (socket) => socket.write(tooLong))
      }
      for (const port of ['upload', 'scheduler', 'socket'] as const) {
        const path =
          port === 'scheduler'
            ? '/scheduler.v2.Scheduler/AnnounceHost'
            : `/dfdaemon.v2.Dfdaemon${port === 'upload' ? 'Upload' : 'Download'}/StatTask`
        const call = await callHeaders(path)
        for (let count = 0; count < 30; count++) {
          await attack.connect(places[port], (socket) => {
            socket.resume()
            socket.write(Buffer.concat([call, frame(0, 0, 1, endlessMessage)]))
            // What is promised comes, as far as it is taken.
            for (let part = 0; part < 100; part++)
              socket.write(frame(0, 0, 1, Buffer.alloc(16_000)))
          })
          await attack.connect(places[port], (socket) => {
            socket.resume()
            socket.write(headers)
          })
        }
      }
    })
  },
)

test(
  'A peer serves others while children take what they asked for too slowly',
  options,
  async (t) => {
    const on = await scene(t)
    const { places, task } = on
    const request = encodeRequest({ kind: 'standard', taskId: task, number: 0 })
    await endures(on, 1500, async () => {
      // More than there are slots for uploads: each has to be cut before the next can be served.
      await many(on, places.pieces, 40, (socket) => {
        socket.pause()
        socket.write(request)
      })
    })
  },
)
