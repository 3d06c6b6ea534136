import { kinds } from '../task/kind.ts'
import type { Geometry } from '../task/piece.ts'
import type { Ownership } from './content-file.ts'
import type { Stamp } from './open-file.ts'
import type { KeptPiece } from './piece-table.ts'
import type { TaskRecord } from './store.ts'

/**
 * One line of the journal. `key` is the number of a task in this journal, given at its first record; a task that is deleted and made again gets another.
 * Every record can be applied twice with the same result, because a compaction may write down what a record behind it says again.
 */
export type JournalRecord =
  | {
      readonly is: 'task'
      readonly key: number
      readonly record: TaskRecord
      readonly contentLength: number
      readonly pieceLength: number
    }
  | { readonly is: 'record'; readonly key: number; readonly record: TaskRecord }
  | {
      readonly is: 'piece'
      readonly key: number
      readonly number: number
      readonly crc: number
      readonly xxh64: bigint
      readonly parentId: string
      readonly createdAt: number
    }
  | { readonly is: 'damaged'; readonly key: number; readonly number: number }
  | {
      readonly is: 'file'
      readonly key: number
      readonly ownership: Ownership
      /** Where an adopted file lies. */
      readonly path?: string
      readonly stamp?: Stamp
    }
  | { readonly is: 'used'; readonly key: number; readonly usedAt: number }
  | { readonly is: 'deleted'; readonly key: number }

/** The first record of a task. */
export function taskRecord(key: number, record: TaskRecord, cut: Geometry): JournalRecord {
  const { contentLength, pieceLength } = cut
  return { is: 'task', key, record, contentLength, pieceLength }
}

/** Who can write to a task's file. Where it lies is said for an adopted one only: the folder of the store may be moved. */
export function fileRecord(
  key: number,
  content: {
    readonly ownership: Ownership
    readonly path: string
    readonly stamp: Stamp | undefined
  },
): JournalRecord {
  const { ownership, path, stamp } = content
  if (ownership !== 'adopted') return { is: 'file', key, ownership }
  return { is: 'file', key, ownership, path, ...(stamp === undefined ? {} : { stamp }) }
}

/** A piece that is kept. */
export function pieceRecord(key: number, number: number, piece: KeptPiece): JournalRecord {
  return { is: 'piece', key, number, ...piece }
}

/** The record as text without a line end. 64-bit numbers are hexadecimal strings, because JSON has none. */
export function encodeRecord(record: JournalRecord): string {
  return JSON.stringify(record, (_, value: unknown) =>
    typeof value === 'bigint' ? value.toString(16) : value,
  )
}

/** The record that the text says; undefined when it is none of this version. */
export function decodeRecord(text: string): JournalRecord | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
  if (!isObject(value) || !isWhole(value['key'])) return undefined
  const { is, key } = value
  switch (is) {
    case 'task': {
      const { record, contentLength, pieceLength } = value
      if (!isTaskRecord(record) || !isWhole(contentLength) || !isWhole(pieceLength))
        return undefined
      return { is, key, record, contentLength, pieceLength }
    }
    case 'record':
      return isTaskRecord(value['record']) ? { is, key, record: value['record'] } : undefined
    case 'piece':
      return decodePiece(key, value)
    case 'damaged':
      return isWhole(value['number']) ? { is, key, number: value['number'] } : undefined
    case 'file':
      return decodeFile(key, value)
    case 'used':
      return isTime(value['usedAt']) ? { is, key, usedAt: value['usedAt'] } : undefined
    case 'deleted':
      return { is, key }
  }
  return undefined
}

function decodePiece(key: number, value: Fields): JournalRecord | undefined {
  const { number, crc, parentId, createdAt } = value
  const xxh64 = wide(value['xxh64'])
  if (!isWhole(number) || !isWhole(crc) || crc > 0xffff_ffff || xxh64 === undefined)
    return undefined
  if (typeof parentId !== 'string' || !isTime(createdAt)) return undefined
  return { is: 'piece', key, number, crc, xxh64, parentId, createdAt }
}

const ownerships: readonly Ownership[] = ['own', 'linked', 'adopted']

function decodeFile(key: number, value: Fields): JournalRecord | undefined {
  const ownership = ownerships.find((known) => known === value['ownership'])
  const { path } = value
  if (ownership === undefined || (ownership === 'adopted' && typeof path !== 'string')) {
    return undefined
  }
  const stamp = isObject(value['stamp']) ? decodeStamp(value['stamp']) : undefined
  return {
    is: 'file',
    key,
    ownership,
    ...(typeof path === 'string' ? { path } : {}),
    ...(stamp === undefined ? {} : { stamp }),
  }
}

function decodeStamp(value: Fields): Stamp | undefined {
  const [dev, ino, size] = [wide(value['dev']), wide(value['ino']), wide(value['size'])]
  const [mtimeNs, ctimeNs] = [wide(value['mtimeNs']), wide(value['ctimeNs'])]
  if (dev === undefined || ino === undefined || size === undefined) return undefined
  if (mtimeNs === undefined || ctimeNs === undefined) return undefined
  return { dev, ino, size, mtimeNs, ctimeNs }
}

/** The checksum of the line says that the store wrote it; this guards against a store of another make. */
function isTaskRecord(value: unknown): value is TaskRecord {
  if (!isObject(value)) return false
  const { id, kind, createdAt, ttlMs, pieceLength, replicas } = value
  return (
    isPlain(value) &&
    typeof id === 'string' &&
    typeof kind === 'string' &&
    Object.hasOwn(kinds, kind) &&
    isTime(createdAt) &&
    (ttlMs === undefined || isTime(ttlMs)) &&
    (pieceLength === undefined || isWhole(pieceLength)) &&
    (replicas === undefined || isWhole(replicas))
  )
}

type Fields = Readonly<Record<string, unknown>>

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && isTime(value) && value >= 0
}

/** JSON can say numbers that it never writes: infinite ones, and a zero with a sign. */
function isTime(value: unknown): value is number {
  return Number.isFinite(value) && !Object.is(value, -0)
}

/** Whether the value can be written down again as it was read: no deeper than any record is, and without such numbers. */
function isPlain(value: unknown, depthMax = 4): boolean {
  if (typeof value === 'number') return isTime(value)
  if (typeof value !== 'object' || value === null) return true
  return depthMax > 0 && Object.values(value).every((inner) => isPlain(inner, depthMax - 1))
}

function wide(value: unknown): bigint | undefined {
  return typeof value === 'string' && /^[0-9a-f]{1,16}$/.test(value)
    ? BigInt(`0x${value}`)
    : undefined
}
