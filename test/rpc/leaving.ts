// A program that `leaving.test.ts` runs, apart because of what happens when it goes wrong: it never gets out of Node again, and takes memory without end.

import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

import { createClient } from '@connectrpc/connect'

import { openChannel } from '../../src/rpc/channel.ts'
import { Scheduler } from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { systemClock } from '../../src/util/clock.ts'
import { deferred } from '../../src/util/deferred.ts'

/** Set by the server when its leave is on the way. */
const left: Int32Array = isMainThread ? new Int32Array(new SharedArrayBuffer(4)) : workerData
const worker = isMainThread ? new Worker(new URL(import.meta.url), { workerData: left }) : undefined
if (worker === undefined) serve()
else await call(worker)

/** A server, in a thread of its own, that leaves when it is told to, and says that it has looked at the first call only. */
function serve(): void {
  const server = http2.createServer()
  let session: http2.Http2Session | undefined
  server.on('session', (started) => {
    session = started
  })
  server.on('stream', (stream) => {
    stream.on('error', () => undefined)
    stream.resume()
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
    parentPort?.postMessage('stream', [])
  })
  server.listen(0, '127.0.0.1', () => {
    parentPort?.postMessage((server.address() as AddressInfo).port, [])
  })
  parentPort?.on('message', () => {
    session?.goaway(http2.constants.NGHTTP2_NO_ERROR, 1)
    // Answered in the order in which they were sent.
    session?.ping(() => undefined)
    setImmediate(() => {
      Atomics.store(left, 0, 1)
      Atomics.notify(left, 0)
    })
  })
}

async function call(server: Worker): Promise<void> {
  const port = await messageOf(server)
  const channel = openChannel({ address: `127.0.0.1:${String(port)}` })
  const client = createClient(Scheduler, channel)
  const over = deferred<void>()
  const unwanted = new AbortController()
  const talk = async (until: Promise<void>, signal = new AbortController().signal) => {
    const requests = async function* (): AsyncGenerator<{ hostId: string }> {
      yield { hostId: 'any' }
      await until
    }
    try {
      for await (const _ of client.announcePeer(requests(), { signal })) continue
      return 'ended'
    } catch {
      return 'failed'
    }
  }
  const never = deferred<void>()
  const first = talk(never.promise)
  await messageOf(server)
  const second = talk(over.promise)
  await messageOf(server)
  // From a timer: what is written now leaves only after the leave, which is here by then, was read.
  await new Promise<void>((resolve) => systemClock.after(1, resolve))
  server.postMessage('leave', [])
  Atomics.wait(left, 0, 0, 5000)
  over.resolve()
  const third = talk(never.promise, unwanted.signal)
  const ends = await Promise.all([second.finally(() => unwanted.abort()), third])
  process.stdout.write(`${ends.join(' ')}\n`)
  channel.close()
  await first
  await server.terminate()
}

function messageOf(server: Worker): Promise<unknown> {
  return new Promise((resolve) => server.once('message', resolve))
}
