import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { Code, ConnectError } from '@connectrpc/connect'
import type { Peer } from '../../src/index.ts'
import type { Host } from '../../src/rpc/gen/common/v2/common_pb.ts'
import type {
  AnnouncePeerRequest,
  AnnouncePeerResponseSchema,
} from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import type { Content } from '../support/content.ts'
import { origin } from '../support/origin.ts'
import { ScriptedScheduler } from './scripted-scheduler.ts'
import { runsOf, startPeer, waitFor } from './start-peer.ts'

const mib = 1024 * 1024
const length = 9 * mib

interface Pair {
  readonly url: string
  readonly content: Content
  /** Has the first piece, and is named nobody. */
  readonly first: Peer
  /** Has the others, and is named the first. */
  readonly second: Peer
  readonly scheduler: ScriptedScheduler
  /** Peers that it was asked about. */
  readonly asked: string[]
}

type Answer = MessageInitShape<typeof AnnouncePeerResponseSchema>
const toSource: Answer = { response: { case: 'needBackToSourceResponse', value: {} } }
const parentsOf = (candidateParents: { readonly id: string; readonly host: Host }[]): Answer => ({
  response: { case: 'normalTaskResponse', value: { candidateParents } },
})

/** Two peers with a part each, and a scheduler that lets only one of them take from the other. */
async function pair(t: TestContext, knows: boolean): Promise<Pair> {
  const asked: string[] = []
  const ids = new Map<string, string>()
  const firstPort = { port: 0 }
  const hostOf = (hostId: string) => scheduler.hosts.find(({ host }) => host?.id === hostId)?.host
  const scheduler: ScriptedScheduler = await ScriptedScheduler.start(t, {
    statPeer: ({ peerId, taskId }) => {
      asked.push(peerId)
      const host = hostOf(ids.get(peerId) ?? '')
      if (!knows || host === undefined) throw new ConnectError('Unknown', Code.NotFound)
      return { id: peerId, task: { id: taskId }, host }
    },
    async *announcePeer(requests: AsyncIterable<AnnouncePeerRequest>) {
      for await (const { hostId, peerId, request } of requests) {
        ids.set(peerId, hostId)
        if (request.case !== 'registerPeerRequest') continue
        const [id] = [...ids].findLast(([, host]) => hostOf(host)?.port === firstPort.port) ?? []
        const host = hostOf(ids.get(id ?? '') ?? '')
        const named = host !== undefined && host.id !== hostId
        if (request.value.download?.disableBackToSource !== true) {
          yield toSource
        } else {
          yield parentsOf(named ? [{ id: id ?? '', host }] : [])
        }
      }
    },
  })
  const from = await origin(t, { length, seed: 5 })
  const options = {
    scheduler: scheduler.address,
    limits: { parentsTimeoutMs: 60_000 },
  }
  const first = await startPeer(t, options)
  const second = await startPeer(t, { ...options, host: { hostname: 'second' } })
  firstPort.port = Number(first.address.split(':').at(-1))
  await first.download(from.url, { range: { start: 0, length: 1 } }).done
  await second.download(from.url, { range: { start: 4 * mib, length: 5 * mib } }).done
  return { url: from.url, content: from.content, first, second, scheduler, asked }
}

test('Peer takes from a child what that has and it has not, and both have everything', async (t) => {
  const { url, content, first, second, scheduler, asked } = await pair(t, true)
  const waiting = first.download(url, { backToSource: 'never' }).done
  await waitFor(() => runsOf(first).length === 1)
  const taking = second.download(url, { backToSource: 'never' }).done
  const [one, two] = await Promise.all([waiting, taking])
  assert.equal(one.traffic.peers, 5 * mib)
  assert.equal(two.traffic.peers, 4 * mib)
  assert.equal(asked.length, 1)
  // Two pieces came from the child, and the scheduler is told so.
  const fromChild = () =>
    scheduler.said.filter(
      ({ request }) =>
        request.case === 'downloadPieceFinishedRequest' &&
        request.value.piece?.parentId === asked[0],
    )
  await waitFor(() => fromChild().length === 2)
  const bytes = await first.download(url, { backToSource: 'never' }).bytes()
  assert.ok(Buffer.from(content.bytes()).equals(bytes))
})

test('Peer takes nothing from a child that the scheduler does not know', async (t) => {
  const { url, first, second, asked } = await pair(t, false)
  const stopped = new AbortController()
  const waiting = first.download(url, { backToSource: 'never', signal: stopped.signal }).done
  const failed = assert.rejects(waiting, (error) => error === stopped.signal.reason)
  await waitFor(() => runsOf(first).length === 1)
  const result = await second.download(url, { backToSource: 'never' }).done
  assert.equal(result.traffic.peers, 4 * mib)
  assert.ok(asked.length > 0)
  const [run] = runsOf(first) as unknown as readonly { readonly peerBytes: number }[]
  assert.equal(run?.peerBytes, 0)
  stopped.abort(new Error('Enough seen'))
  await failed
})

test('Peer whose host name no header can carry is served all the same', async (t) => {
  const from = await origin(t, { length, seed: 6 })
  const seed = await startPeer(t)
  await seed.download(from.url).done
  const child = await startPeer(t, { scheduler: seed.schedulerAddress, host: { hostname: '日本' } })
  const { traffic } = await child.download(from.url, { backToSource: 'never' }).done
  assert.equal(traffic.peers, length)
})
