import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect'
import { PeerError } from '../../src/errors.ts'
import type { PersistentCacheTaskSchema } from '../../src/rpc/gen/common/v2/common_pb.ts'
import type {
  AnnouncePersistentCachePeerRequest,
  Scheduler,
} from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import type { CacheUpload } from '../../src/scheduler/cache-calls.ts'
import { geometry } from '../../src/task/piece.ts'
import { mib } from './child.ts'
import { clientFor, Script } from './script.ts'

const { signal } = new AbortController()
const cut = geometry(10 * mib)
const upload: CacheUpload = {
  peerId: 'p',
  spec: {
    id: 'ab'.repeat(32),
    kind: 'persistentCache',
    filteredQueryParams: [],
    headers: {},
    priority: 6,
    ttlMs: 600_000,
  },
  geometry: cut,
  replicas: 2,
}

type Known = MessageInitShape<typeof PersistentCacheTaskSchema>

/** A scheduler that has the task already, in this state, and writes down what it is asked. */
class Library extends Script {
  readonly asked: string[] = []
  readonly said: AnnouncePersistentCachePeerRequest[] = []

  constructor(known: Known, join: 'parents' | 'nobody' = 'parents') {
    super()
    let there = true
    const more: Partial<ServiceImpl<typeof Scheduler>> = {
      uploadPersistentCacheTaskStarted: () => {
        this.asked.push('started')
        if (there) throw new ConnectError('It is Succeeded', Code.AlreadyExists)
        return {}
      },
      uploadPersistentCacheTaskFinished: () => {
        this.asked.push('finished')
        return known
      },
      statPersistentCacheTask: () => {
        this.asked.push('stat')
        return known
      },
      deletePersistentCacheTask: () => {
        this.asked.push('delete')
        there = false
        return {}
      },
      announcePersistentCachePeer: (requests) => this.#serve(requests, join),
    }
    this.more = more
  }

  async *#serve(
    requests: AsyncIterable<AnnouncePersistentCachePeerRequest>,
    join: 'parents' | 'nobody',
  ) {
    for await (const request of requests) {
      this.said.push(request)
      if (request.request.case !== 'registerPersistentCachePeerRequest') continue
      if (join === 'nobody') throw new ConnectError('no candidate', Code.FailedPrecondition)
      const host = { id: 'h', ip: '10.0.0.1', port: 4000 }
      const value = { candidateCacheParents: [{ id: 'other', host }] }
      yield { response: { case: 'normalPersistentCacheTaskResponse' as const, value } }
    }
  }

  get heard(): readonly unknown[] {
    return this.said.map(({ request }) => request.case)
  }
}

const there: Known = {
  id: upload.spec.id,
  contentLength: BigInt(cut.contentLength),
  pieceLength: BigInt(cut.pieceLength),
  pieceCount: cut.pieceCount,
  currentReplicaCount: 1n,
  currentPersistentReplicaCount: 1n,
  persistentReplicaCount: 2n,
  state: 'Succeeded',
}

async function importTo(t: TestContext, library: Library): Promise<void> {
  await clientFor(t, [library]).importTask(upload, signal)
}

test('SchedulerClient.importTask() of content that others hold already makes this host one more holder', async (t) => {
  const library = new Library(there)
  await importTo(t, library)
  assert.deepEqual(library.asked, ['started', 'stat'])
  assert.deepEqual(library.heard, [
    'registerPersistentCachePeerRequest',
    'downloadPersistentCachePeerStartedRequest',
    'downloadPersistentCachePeerFinishedRequest',
  ])
  const [register] = library.said
  assert.equal(register?.peerId, 'p')
  assert.equal(
    register?.request.case === 'registerPersistentCachePeerRequest' &&
      register.request.value.persistent,
    true,
  )
})

test('SchedulerClient.importTask() is content with a scheduler that finds no other holder', async (t) => {
  const library = new Library(there, 'nobody')
  await importTo(t, library)
  assert.deepEqual(library.asked, ['started', 'stat'])
})

test('SchedulerClient.importTask() begins anew where a task is remembered without holders', async (t) => {
  const library = new Library({ ...there, currentReplicaCount: 0n })
  await importTo(t, library)
  assert.deepEqual(library.asked, ['started', 'stat', 'delete', 'started', 'finished'])
  assert.deepEqual(library.said, [])
})

test('SchedulerClient.importTask() does not claim content that is cut in another way', async (t) => {
  const library = new Library({ ...there, pieceLength: BigInt(8 * mib), pieceCount: 2 })
  await importTo(t, library)
  assert.deepEqual(library.asked, ['started', 'stat'])
  assert.deepEqual(library.said, [])
})

test('SchedulerClient.importTask() takes an import back that cannot be finished', async (t) => {
  const script = new Script()
  const asked: string[] = []
  script.more = {
    uploadPersistentCacheTaskStarted: () => ({}),
    uploadPersistentCacheTaskFinished: () => {
      throw new ConnectError('Not now', Code.Internal)
    },
    uploadPersistentCacheTaskFailed: ({ peerId, description }) => {
      asked.push(`${peerId} ${description}`)
      return {}
    },
  }
  await assert.rejects(clientFor(t, [script]).importTask(upload, signal), (error) =>
    PeerError.is(error, 'SCHEDULER_REFUSED'),
  )
  assert.equal(asked.length, 1)
  assert.match(asked[0] ?? '', /^p .*Not now/)
})

for (const persistent of [true, false]) {
  test(`SchedulerClient.open() registers a copy that is ${persistent ? '' : 'not '}kept as such`, async (t) => {
    const library = new Library(there)
    const session = clientFor(t, [library]).open({
      peerId: 'q',
      spec: upload.spec,
      geometry: cut,
      needBackToSource: false,
      backToSource: 'never',
      metadataOnly: false,
      concurrency: 4,
      ...(persistent ? { persistent } : {}),
    })
    await session.next(signal)
    await session.finish({ is: 'done', source: false })
    const [register] = library.said
    assert.equal(
      register?.request.case === 'registerPersistentCachePeerRequest' &&
        register.request.value.persistent,
      persistent,
    )
  })
}
