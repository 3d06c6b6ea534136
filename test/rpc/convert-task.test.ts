import assert from 'node:assert/strict'
import test from 'node:test'

import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'

import { defaultFilteredQueryParams } from '../../src/hash/task-url.ts'
import {
  cacheRegistrationMessage,
  cacheTaskFacts,
  downloadMessage,
  listLengthMax,
  taskFacts,
  wantedOf,
} from '../../src/rpc/convert-task.ts'
import {
  type Download,
  DownloadSchema,
  PersistentCacheTaskSchema,
  Priority,
  TaskSchema,
  TaskType,
} from '../../src/rpc/gen/common/v2/common_pb.ts'
import { RegisterPersistentCachePeerRequestSchema } from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { geometry } from '../../src/task/piece.ts'
import type { Registration } from '../../src/task/ports.ts'

const mib = 1024 * 1024
const registration: Registration = {
  peerId: 'p',
  spec: {
    id: 'task',
    kind: 'standard',
    url: 'http://origin.test/a',
    tag: 't',
    application: 'app',
    digest: 'sha256:00',
    filteredQueryParams: ['Expires'],
    headers: { authorization: 'x' },
    priority: 6,
  },
  geometry: geometry(10 * mib),
  range: { start: 5, length: 7 },
  needBackToSource: false,
  backToSource: 'allow',
  metadataOnly: false,
  concurrency: 8,
}

function onTheWire(from: Registration): Download {
  const message = create(DownloadSchema, downloadMessage(from))
  return fromBinary(DownloadSchema, toBinary(DownloadSchema, message))
}

test('downloadMessage() and wantedOf() give back a registration', () => {
  const wanted = wantedOf(onTheWire(registration))
  assert.ok(typeof wanted !== 'string')
  const { id: _, ...spec } = registration.spec
  assert.deepEqual(wanted, {
    spec,
    geometry: { ...registration.geometry },
    range: registration.range,
    needBackToSource: false,
    backToSource: 'allow',
    metadataOnly: false,
    concurrency: 8,
  })
})

test('downloadMessage() tells the lengths when they are known, and else that they are not', () => {
  const known = onTheWire(registration)
  assert.equal(known.actualContentLength, BigInt(10 * mib))
  assert.equal(known.actualPieceLength, BigInt(4 * mib))
  assert.equal(known.actualPieceCount, 3n)
  const { geometry: _, ...unknown } = registration
  const message = onTheWire(unknown)
  assert.equal(message.actualContentLength, 2n ** 64n - 1n)
  assert.equal(message.actualPieceLength, undefined)
  assert.equal(message.actualPieceCount, 2n ** 64n - 1n)
  const wanted = wantedOf(message)
  assert.ok(typeof wanted !== 'string')
  assert.equal(wanted.geometry, undefined)
  const empty = onTheWire({ ...registration, geometry: geometry(0) })
  assert.equal(empty.actualContentLength, 0n)
})

test('downloadMessage() sends a piece length only when a user chose it', () => {
  assert.equal(onTheWire(registration).pieceLength, undefined)
  const spec = { ...registration.spec, pieceLength: 8 * mib }
  assert.equal(onTheWire({ ...registration, spec }).pieceLength, BigInt(8 * mib))
})

test('downloadMessage() lets a scheduler trigger no seed for a download without origin', () => {
  const never = onTheWire({ ...registration, backToSource: 'never', needBackToSource: true })
  assert.equal(never.disableBackToSource, true)
  assert.equal(never.needBackToSource, false)
  assert.equal(never.priority, Priority.LEVEL3)
})

test('downloadMessage() holds the priority within the known levels', () => {
  for (const priority of [-1, 7, 1.5, Number.NaN]) {
    const spec = { ...registration.spec, priority }
    assert.equal(onTheWire({ ...registration, spec }).priority, Priority.LEVEL0)
  }
})

test('wantedOf() takes missing and senseless lengths for unknown, not for empty', () => {
  const cases: readonly [object, object | undefined][] = [
    [{}, undefined],
    [{ actualContentLength: 0n }, { contentLength: 0, pieceLength: 1, pieceCount: 0 }],
    [{ actualContentLength: 2n ** 64n - 1n, actualPieceLength: 4n }, undefined],
    [{ actualContentLength: 10n }, undefined],
    [{ actualContentLength: 10n, actualPieceLength: 0n }, undefined],
    [
      { actualContentLength: 10n, actualPieceLength: 4n },
      { contentLength: 10, pieceLength: 4, pieceCount: 3 },
    ],
    [{ actualContentLength: 10n, actualPieceLength: 4n, actualPieceCount: 9n }, undefined],
  ]
  for (const [fields, expected] of cases) {
    const wanted = wantedOf(create(DownloadSchema, { url: 'http://a.test/', ...fields }))
    assert.ok(typeof wanted !== 'string')
    assert.deepEqual(wanted.geometry, expected)
  }
})

test('wantedOf() refuses what is out of bounds', () => {
  const headers = Object.fromEntries(
    Array.from({ length: listLengthMax + 1 }, (_, at) => [`h${at}`, 'x']),
  )
  const cases = [
    { url: `http://a.test/${'x'.repeat(20_000)}` },
    { requestHeader: headers },
    { filteredQueryParams: Array.from({ length: listLengthMax + 1 }, String) },
    { type: TaskType.CACHE },
    { type: 99 as TaskType },
  ]
  for (const init of cases) assert.equal(typeof wantedOf(create(DownloadSchema, init)), 'string')
  assert.equal(typeof wantedOf(undefined), 'string')
})

test('wantedOf() never throws, whatever the bytes say', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      let message: Download
      try {
        message = fromBinary(DownloadSchema, bytes)
      } catch {
        return // No message at all: the server refuses it before.
      }
      wantedOf(message)
    }),
  )
})

test('wantedOf() drops an empty range and one that no number can hold', () => {
  for (const range of [
    { start: 0n, length: 0n },
    { start: 2n ** 60n, length: 4n },
  ]) {
    const wanted = wantedOf(create(DownloadSchema, { range }))
    assert.ok(typeof wanted !== 'string')
    assert.equal(wanted.range, undefined)
  }
})

test('cacheRegistrationMessage() tells how the content is cut', () => {
  const spec = { ...registration.spec, kind: 'persistentCache' as const }
  const message = create(
    RegisterPersistentCachePeerRequestSchema,
    cacheRegistrationMessage({ ...registration, spec }),
  )
  assert.equal(message.pieceLength, BigInt(4 * mib))
  assert.equal(message.pieceCount, 3n)
  assert.equal(message.tag, 't')
})

test('taskFacts() works the piece length out of the pieces', () => {
  const piece = (number: number, offset: number, length: number) => ({
    number,
    offset: BigInt(offset),
    length: BigInt(length),
  })
  const cases: readonly [string, ReturnType<typeof piece>[], number | undefined][] = [
    ['no pieces', [], undefined],
    ['the first one', [piece(0, 0, 4)], 4],
    ['the first one, which is all', [piece(0, 0, 10)], undefined],
    ['the last one', [piece(2, 8, 2)], 4],
    ['one without length', [piece(1, 4, 0)], undefined],
    ['one whose offset is no multiple', [piece(3, 10, 2)], undefined],
    ['one that is longer than its offset allows', [piece(1, 4, 9)], undefined],
    ['nonsense first', [piece(3, 10, 2), piece(1, 4, 4)], 4],
  ]
  for (const [name, pieces, expected] of cases) {
    const facts = taskFacts(create(TaskSchema, { id: 't', contentLength: 10n, pieces }))
    assert.equal(facts.pieceLength, expected, name)
  }
})

test('taskFacts() knows what unknown looks like', () => {
  const unknown = taskFacts(create(TaskSchema, { id: 't', contentLength: 2n ** 64n - 1n }))
  assert.equal(unknown.contentLength, undefined)
  assert.equal(unknown.pieceCount, undefined)
  const empty = taskFacts(create(TaskSchema, { id: 't', contentLength: 0n }))
  assert.equal(empty.contentLength, 0)
  assert.equal(empty.pieceCount, 0)
})

test('cacheTaskFacts() reads what a tool needs', () => {
  const facts = cacheTaskFacts(
    create(PersistentCacheTaskSchema, {
      id: 't',
      persistentReplicaCount: 2n,
      currentPersistentReplicaCount: 1n,
      currentReplicaCount: 3n,
      contentLength: 10n,
      pieceLength: 4n,
      pieceCount: 3,
      state: 'Succeeded',
      ttl: { seconds: 300n },
      createdAt: { seconds: 5n },
    }),
  )
  assert.deepEqual(facts, {
    id: 't',
    pieceCount: 3,
    state: 'Succeeded',
    replicas: { wanted: 2, persistent: 1, all: 3 },
    contentLength: 10,
    pieceLength: 4,
    ttlMs: 300_000,
    createdAt: 5000,
  })
})

test('wantedOf() names the default query parameters by the list that all tasks share', () => {
  const spec = { ...registration.spec, filteredQueryParams: [...defaultFilteredQueryParams] }
  const wanted = wantedOf(onTheWire({ ...registration, spec }))
  assert.ok(typeof wanted !== 'string')
  assert.equal(wanted.spec.filteredQueryParams, defaultFilteredQueryParams)
})
