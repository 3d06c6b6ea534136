import assert from 'node:assert/strict'
import { decodeRecord, encodeRecord, type JournalRecord } from '../../src/storage/journal-record.ts'
import { Recovery } from '../../src/storage/recovery.ts'
import type { Random } from '../crash/random.ts'
import type { Target } from './target.ts'

/** Records of one task, as a store writes them. */
function records(random: Random): JournalRecord[] {
  const key = random.below(1000)
  const record = {
    id: 'a'.repeat(64),
    kind: random.of(['standard', 'persistent', 'persistentCache'] as const),
    url: 'http://host/ü?a=b',
    createdAt: 1_755_600_000_000,
    ttlMs: 1000,
  }
  const pieceLength = 4 << 20
  const contentLength = pieceLength * (1 + random.below(50))
  const stamp = { dev: 1n, ino: 2n ** 60n, size: 3n, mtimeNs: 4n, ctimeNs: 5n }
  return [
    { is: 'task', key, record, contentLength, pieceLength },
    { is: 'file', key, ownership: 'adopted', path: '/data/model', stamp },
    {
      is: 'piece',
      key,
      number: random.below(60),
      crc: random.below(2 ** 32),
      xxh64: 2n ** 63n + BigInt(random.below(1000)),
      parentId: 'parent',
      createdAt: 1,
    },
    { is: 'damaged', key, number: random.below(60) },
    { is: 'used', key, usedAt: 12 },
    { is: 'record', key, record },
    { is: 'deleted', key },
  ]
}

/** Records on lines. The checksum of a line is not in the way here: whoever can write to the folder can compute it. */
export const recordTargets: readonly Target[] = [
  {
    name: 'journal record',
    valid: (random) => Buffer.from(records(random).map(encodeRecord).join('\n')),
    check(bytes) {
      const recovery = new Recovery()
      for (const line of Buffer.from(bytes).toString().split('\n')) {
        const record = decodeRecord(line)
        if (record === undefined) continue
        assert.deepEqual(decodeRecord(encodeRecord(record)), record)
        if (!recovery.play(record)) break
      }
      assert.ok(recovery.tasks().size <= 1000)
      assert.ok(Number.isSafeInteger(recovery.nextKey) || recovery.nextKey === 2 ** 53)
    },
  },
]
