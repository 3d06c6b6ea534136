import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import {
  Retractions,
  retractionsAtOnceMax,
  retractionsWaitingMax,
} from '../../src/peer/retractions.ts'
import { type Deferred, deferred } from '../../src/util/deferred.ts'
import { cleanup } from '../support/cleanup.ts'
import { origin } from '../support/origin.ts'
import { runsOf, startPeer, waitFor } from './start-peer.ts'
import { ScriptedScheduler } from './scripted-scheduler.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** A turn of the event loop. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A scheduler that sends everybody to the origin, and takes its time to hear that something is gone. */
class SlowClerk {
  /** Deletions that were asked for, in this order. */
  readonly asked: string[] = []
  underWay = 0
  underWayMost = 0
  readonly #gate: Deferred<void> = deferred()
  #address = ''

  static async start(t: TestContext): Promise<SlowClerk> {
    const clerk = new SlowClerk()
    const { address } = await ScriptedScheduler.start(t, {
      announcePeer: async function* (requests) {
        for await (const { request } of requests) {
          if (request.case === 'registerPeerRequest') {
            yield { response: { case: 'needBackToSourceResponse' as const, value: {} } }
          }
          if (/Peer(BackToSource)?Finished/.test(request.case ?? '')) return
        }
      },
      deleteTask: async ({ taskId }) => {
        clerk.asked.push(taskId)
        clerk.underWay++
        clerk.underWayMost = Math.max(clerk.underWayMost, clerk.underWay)
        await clerk.#gate.promise
        // The answer goes out; what is asked for next comes later.
        await turn()
        clerk.underWay--
        return {}
      },
    })
    clerk.#address = address
    cleanup(t, () => clerk.answer())
    return clerk
  }

  get address(): string {
    return this.#address
  }

  /** From now on deletions are answered. */
  answer(): void {
    this.#gate.resolve()
  }
}

const count = 3 * retractionsAtOnceMax + 5

test('A peer whose memory is collected takes back each of many tasks, so many at once', async (t) => {
  const clerk = await SlowClerk.start(t)
  const from = await origin(t, { length: 1000 })
  const peer = await startPeer(t, { scheduler: clerk.address })
  const ids = new Set<string>()
  for (let at = 0; at < count; at++) {
    const download = peer.download(from.urlOf(`/${at}`))
    await download.bytes()
    ids.add((await download.done).id)
  }
  await waitFor(() => runsOf(peer).length === 0)
  await waitFor(() => {
    collectGarbage()
    return peer.usage().memory.tasks === 0
  })
  await waitFor(() => clerk.underWay >= retractionsAtOnceMax)
  // Whatever else there was to be sent comes before the next answers.
  const another = peer.download(from.urlOf('/another'))
  const { id } = await another.done
  assert.equal(clerk.underWay, retractionsAtOnceMax)
  clerk.answer()
  await waitFor(() => clerk.asked.length === count && clerk.underWay === 0)
  assert.equal(clerk.underWayMost, retractionsAtOnceMax)
  assert.deepEqual(new Set(clerk.asked), ids)
  assert.ok(!ids.has(id))
})

test('A peer that drops many tasks takes them back so many at once, and closes without waiting for it', async (t) => {
  const clerk = await SlowClerk.start(t)
  const from = await origin(t, { length: 1000 })
  const peer = await startPeer(t, { scheduler: clerk.address, store: 'memory' })
  for (let at = 0; at < count; at++) await peer.download(from.urlOf(`/${at}`)).done
  await waitFor(() => runsOf(peer).length === 0)
  peer.setLimits({ memoryBytesMax: 1000 })
  await waitFor(() => peer.usage().memory.tasks === 0)
  await waitFor(() => clerk.asked.length >= retractionsAtOnceMax)
  // None of them is answered before the peer has closed.
  await peer.close()
  assert.equal(clerk.asked.length, retractionsAtOnceMax)
  clerk.answer()
  await waitFor(() => clerk.underWay === 0)
  assert.equal(clerk.asked.length, retractionsAtOnceMax)
})

test('A download asks for content without a length only after the scheduler has heard of its last end', async (t) => {
  const heard: string[] = []
  const gate = deferred<void>()
  cleanup(t, () => gate.resolve())
  const scheduler = await ScriptedScheduler.start(t, {
    announcePeer: async function* (requests) {
      for await (const { request, taskId } of requests) {
        if (request.case === 'registerPeerRequest') {
          heard.push(`asks ${taskId}`)
          yield { response: { case: 'needBackToSourceResponse' as const, value: {} } }
        }
        if (/Peer(BackToSource)?Finished/.test(request.case ?? '')) return
      }
    },
    deleteTask: async ({ taskId }) => {
      heard.push(`deletes ${taskId}`)
      await gate.promise
      return {}
    },
  })
  const from = await origin(t, { length: 1000, lengthKnown: false, ranges: false })
  const peer = await startPeer(t, { scheduler: scheduler.address, store: 'memory' })
  const urls = Array.from({ length: retractionsAtOnceMax + 1 }, (_, at) => from.urlOf(`/${at}`))
  const urlOf = new Map<string, string>()
  for (const url of urls) urlOf.set((await peer.download(url).done).id, url)
  await waitFor(() => runsOf(peer).length === 0)
  peer.setLimits({ memoryBytesMax: 1000 })
  const deletions = (): string[] => heard.filter((line) => line.startsWith('deletes'))
  await waitFor(() => peer.usage().memory.tasks === 0)
  await waitFor(() => deletions().length === retractionsAtOnceMax)
  peer.setLimits({ memoryBytesMax: 1_000_000 })
  const [waits = ''] = [...urlOf.keys()].filter((id) => !heard.includes(`deletes ${id}`))
  heard.length = 0
  const again = peer.download(urlOf.get(waits) ?? '').done
  await waitFor(() => heard.length === 1)
  gate.resolve()
  await again
  assert.deepEqual(heard.slice(0, 2), [`deletes ${waits}`, `asks ${waits}`])
})

/** Retractions whose telling ends when the test says so. */
function scripted(): {
  readonly retractions: Retractions
  readonly told: string[]
  end(count: number): Promise<void>
} {
  const told: string[] = []
  const ends: (() => void)[] = []
  const retractions = new Retractions((taskId) => {
    told.push(taskId)
    return new Promise((resolve) => ends.push(resolve))
  })
  const end = async (most: number): Promise<void> => {
    for (const each of ends.splice(0, most)) each()
    await turn()
  }
  return { retractions, told, end }
}

const names = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, at) => `task-${from + at}`)

test('Retractions.add() tells in order, the next one when one has ended, and one that waits once', async () => {
  const { retractions, told, end } = scripted()
  const max = retractionsAtOnceMax
  for (const name of names(0, max + 4)) retractions.add(name)
  for (const name of names(max, max + 4).toReversed()) retractions.add(name)
  assert.deepEqual(told, names(0, max))
  await end(3)
  assert.deepEqual(told, names(0, max + 3))
  // What is under way may end again: the scheduler heard of the earlier end.
  retractions.add('task-0')
  await end(2)
  assert.deepEqual(told, [...names(0, max + 4), 'task-0'])
  await end(max)
  for (const name of names(100, 102)) retractions.add(name)
  assert.deepEqual(told.slice(-2), names(100, 102))
})

test('Retractions.remove() and clear() take away what waits, and later ones are told', async () => {
  const { retractions, told, end } = scripted()
  const max = retractionsAtOnceMax
  for (const name of names(0, max + 3)) retractions.add(name)
  assert.equal(retractions.remove('task-0'), false)
  assert.equal(retractions.remove(`task-${max}`), true)
  await end(1)
  assert.deepEqual(told.slice(max), [`task-${max + 1}`])
  retractions.clear()
  await end(max)
  assert.equal(told.length, max + 1)
  retractions.add('later')
  assert.equal(told.at(-1), 'later')
})

test('Retractions.add() gives up the first that waits when too many do', async () => {
  const { retractions, told, end } = scripted()
  const max = retractionsAtOnceMax
  for (const name of names(0, max + retractionsWaitingMax + 2)) retractions.add(name)
  assert.deepEqual(told, names(0, max))
  await end(1)
  assert.equal(told.at(-1), `task-${max + 2}`)
})
