import assert from 'node:assert/strict'
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf'
import { ConnectError } from '@connectrpc/connect'
import { downloadOrder, exportOrder } from '../../src/peer/local/request.ts'
import { idLengthMax, textLengthMax, urlLengthMax } from '../../src/rpc/convert.ts'
import { hostFacts } from '../../src/rpc/convert-host.ts'
import { candidatesOf, parentsMax } from '../../src/rpc/convert-peer.ts'
import { cacheTaskFacts, listLengthMax, taskFacts, wantedOf } from '../../src/rpc/convert-task.ts'
import {
  DownloadSchema,
  HostSchema,
  PersistentCacheTaskSchema,
  TaskSchema,
} from '../../src/rpc/gen/common/v2/common_pb.ts'
import { DownloadPersistentCacheTaskRequestSchema } from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import {
  AnnouncePeerRequestSchema,
  AnnouncePersistentCachePeerRequestSchema,
  NormalTaskResponseSchema,
} from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { cacheDialect, standardDialect } from '../../src/scheduler/embedded/server-dialect.ts'
import type { Target } from './target.ts'

const id = 'a'.repeat(64)
const host = {
  id: '10.0.0.1-host-seed',
  type: 1,
  hostname: 'host',
  ip: '10.0.0.1',
  port: 65_001,
  downloadPort: 65_001,
  os: 'linux',
  network: { idc: 'a', location: 'a|b', maxTxBandwidth: 10n ** 10n, txBandwidth: 5n },
  disk: { total: 10n ** 12n, free: 10n ** 11n },
  build: { gitVersion: 'v1', platform: 'x' },
}
const download: MessageInitShape<typeof DownloadSchema> = {
  url: 'https://host/a?b=c',
  digest: `sha256:${'0f'.repeat(32)}`,
  tag: 'tag',
  application: 'app',
  priority: 6,
  filteredQueryParams: ['b', 'd'],
  requestHeader: { Authorization: 'Bearer x', Range: 'bytes=0-9' },
  pieceLength: 4n << 20n,
  timeout: { seconds: 10n, nanos: 5 },
  actualContentLength: 9n << 20n,
  actualPieceLength: 4n << 20n,
  actualPieceCount: 3n,
  concurrentPieceCount: 4,
}
const piece = {
  number: 1,
  offset: 4n << 20n,
  length: 4n << 20n,
  digest: 'crc32:1',
  parentId: 'parent',
}

/** A message and what reads it. Bytes that are no message are refused by the decoder of the package with an `Error`. */
function messages<D extends DescMessage>(
  schema: D,
  valid: MessageInitShape<D>,
  check: (message: MessageShape<D>) => void,
): Target {
  const bytes = toBinary(schema, create(schema, valid))
  return {
    name: `message ${schema.name}`,
    valid: () => bytes,
    check(input) {
      let message: MessageShape<D>
      try {
        message = fromBinary(schema, input)
      } catch (error) {
        assert.ok(error instanceof Error)
        return
      }
      check(message)
    },
  }
}

const within = (text: string | undefined, lengthMax: number): void => {
  assert.ok(text === undefined || text.length <= lengthMax)
}

const whole = (...figures: readonly (number | undefined)[]): void => {
  for (const figure of figures) {
    assert.ok(figure === undefined || (Number.isSafeInteger(figure) && figure >= 0), `${figure}`)
  }
}

/** Throws anything but what a caller of the service may be answered. */
function refusable(work: () => unknown): void {
  try {
    work()
  } catch (error) {
    assert.ok(error instanceof ConnectError, String(error))
    assert.ok(error.rawMessage.length < 2000)
  }
}

export const messageTargets: readonly Target[] = [
  messages(HostSchema, host, (message) => {
    const facts = hostFacts(message)
    if (typeof facts === 'string') return
    within(facts.id, idLengthMax)
    for (const text of [facts.hostname, facts.name, facts.os, facts.idc, facts.location]) {
      within(text, textLengthMax)
    }
    whole(facts.diskFree, facts.maxTx, facts.tx)
    assert.ok(facts.port >= 1 && facts.port <= 65_535 && facts.downloadPort <= 65_535)
  }),
  messages(DownloadSchema, download, (message) => {
    const wanted = wantedOf(message)
    if (typeof wanted !== 'string') {
      const { spec, geometry, range } = wanted
      within(spec.url, urlLengthMax)
      within(spec.tag, textLengthMax)
      assert.ok(Object.keys(spec.headers).length <= listLengthMax)
      assert.ok(spec.filteredQueryParams.length <= listLengthMax)
      assert.ok(spec.priority >= 0 && spec.priority <= 6)
      whole(spec.pieceLength, range?.start, range?.length, wanted.concurrency)
      whole(geometry?.contentLength, geometry?.pieceLength, geometry?.pieceCount)
    }
    refusable(() => downloadOrder(message))
  }),
  messages(
    DownloadPersistentCacheTaskRequestSchema,
    { taskId: id, digest: 'crc32:1', timeout: { seconds: 1n } },
    (message) => refusable(() => exportOrder(message)),
  ),
  messages(
    TaskSchema,
    {
      id,
      url: 'http://a/',
      contentLength: 9n << 20n,
      pieceCount: 3,
      pieces: [piece],
      state: 'Running',
    },
    (message) => {
      const facts = taskFacts(message)
      within(facts.url, urlLengthMax)
      whole(facts.contentLength, facts.pieceLength, facts.pieceCount)
      assert.ok(Object.keys(facts.headers).length <= listLengthMax)
    },
  ),
  messages(
    PersistentCacheTaskSchema,
    { id, contentLength: 5n, pieceLength: 4n << 20n, pieceCount: 1, ttl: { seconds: 600n } },
    (message) => {
      const facts = cacheTaskFacts(message)
      within(facts.id, idLengthMax)
      whole(facts.contentLength, facts.pieceLength, facts.ttlMs, facts.createdAt, facts.updatedAt)
    },
  ),
  messages(
    NormalTaskResponseSchema,
    {
      candidateParents: [
        { id: 'p', host, task: { id, contentLength: 5n } },
        { id: 'q', host },
      ],
    },
    (message) => {
      const { parents, messages: found, contentLength } = candidatesOf(message.candidateParents)
      assert.ok(parents.length <= parentsMax && found.size === parents.length)
      for (const parent of parents) {
        within(parent.id, idLengthMax)
        assert.ok(parent.port >= 1 && parent.port <= 65_535)
      }
      whole(contentLength)
    },
  ),
  messages(
    AnnouncePeerRequestSchema,
    {
      hostId: 'h',
      taskId: id,
      peerId: 'p',
      request: { case: 'registerPeerRequest', value: { download } },
    },
    (message) => event(standardDialect.read(message)),
  ),
  messages(
    AnnouncePeerRequestSchema,
    {
      hostId: 'h',
      taskId: id,
      peerId: 'p',
      request: { case: 'downloadPieceFinishedRequest', value: { piece, ownNumbers: [1, 2] } },
    },
    (message) => event(standardDialect.read(message)),
  ),
  messages(
    AnnouncePersistentCachePeerRequestSchema,
    {
      hostId: 'h',
      taskId: id,
      peerId: 'p',
      request: { case: 'downloadPersistentCachePeerFailedRequest', value: { description: 'no' } },
    },
    (message) => event(cacheDialect.read(message)),
  ),
]

function event(read: ReturnType<typeof standardDialect.read>): void {
  if (typeof read === 'string') return
  if (read.is === 'failed') within(read.reason, 256)
  if (read.is === 'reschedule') assert.ok(read.parentIds.length <= listLengthMax)
  if (read.is === 'piece') within(read.parentId, idLengthMax)
}
