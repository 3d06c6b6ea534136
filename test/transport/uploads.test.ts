import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OpenPiece } from '../../src/task/ports.ts'
import type { TransportHost } from '../../src/transport/transport.ts'
import { Uploads } from '../../src/transport/uploads.ts'
import { type Deferred, deferred } from '../../src/util/deferred.ts'
import { Slots } from '../../src/util/slots.ts'
import { ManualClock } from './manual-clock.ts'
import { turns } from './until.ts'

const never = new AbortController().signal

/** What sends until it is told that a piece has gone, and counts. */
function sender(): { readonly send: () => Promise<void>; readonly ends: Deferred<void>[] } {
  const ends: Deferred<void>[] = []
  const send = (): Promise<void> => {
    const end = deferred<void>()
    ends.push(end)
    return end.promise
  }
  return { send, ends }
}

test('Uploads of all transports share the places, and follow when there are more or fewer', async () => {
  const places = new Slots(2)
  const open: OpenPiece = {
    piece: { number: 0, offset: 0, length: 1 },
    digest: '',
    parentId: '',
    createdAt: 0,
    memory: new Uint8Array(1),
    read: () => Promise.resolve(0),
    close: () => undefined,
  }
  const host: TransportHost = {
    shelf: { open: () => Promise.resolve(open) },
    listen: { ip: '127.0.0.1', port: 0 },
    uploadRate: { take: () => Promise.resolve(), limited: false },
    uploadSlots: 2,
    uploadPlaces: places,
    clock: new ManualClock(),
  }
  const { send, ends } = sender()
  const [one, other] = [new Uploads(host, 'one', 1000), new Uploads(host, 'other', 1000)]
  const transports = [one, other]
  const served = Array.from({ length: 8 }, (_, number) =>
    (number % 2 === 0 ? one : other).serve({ taskId: 'a', kind: 'standard', number }, never, send),
  )
  const sending = (): number =>
    transports.flatMap((each) => each.explain()).filter(({ is }) => is === 'sending').length
  let ended = 0
  const end = async (): Promise<void> => {
    ends[ended++]?.resolve()
    await turns(3)
  }
  await turns(3)
  assert.equal(sending(), 2)
  places.setCount(4)
  await turns(3)
  assert.equal(sending(), 4)
  places.setCount(1)
  for (const wanted of [3, 2, 1, 1, 1]) {
    await end()
    assert.equal(sending(), wanted)
  }
  for (let rest = ended; rest < 8; rest++) await end()
  await Promise.all(served)
  assert.deepEqual([places.taken, places.waiting], [0, 0])
})
