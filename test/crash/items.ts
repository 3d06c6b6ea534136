import { createHash } from 'node:crypto'
import type { TaskRecord } from '../../src/storage/store.ts'
import { type Geometry, geometry } from '../../src/task/piece.ts'
import { Content } from '../support/content.ts'

/** Content that is known to the process that is killed and to the one that looks afterwards. */
export interface Item {
  readonly name: string
  readonly content: Content
  readonly cut: Geometry
  readonly record: TaskRecord
  /** Somebody writes to its outputs, so that pieces of it may be found damaged. */
  readonly edited: boolean
}

/** Length and piece length of each. Small enough that a life has hundreds of calls in a tenth of a second. */
const cuts: readonly (readonly [number, number])[] = [
  [0, 1000],
  [1, 1000],
  [999, 1000],
  [5000, 777],
  [20_000, 4096],
  [65_536, 8192],
  [100_000, 7000],
  [250_000, 30_000],
  [400_000, 100_000],
  [700_000, 300_000],
  [60_000, 10_000],
  [90_000, 9000],
]

/** What the lives of a store work with. */
export const storeItems: readonly Item[] = cuts.map(([length, pieceLength], at) => {
  const name = `item${at}`
  const id = createHash('sha256').update(name).digest('hex')
  const content = new Content(length, 100 + at)
  const cut = geometry(length, pieceLength)
  // Without a date of its own, which would differ between the processes.
  return { name, content, cut, record: { id, kind: 'standard', createdAt: 1 }, edited: at >= 10 }
})

/** Most bytes of the store: too few for all of them. */
export const storeBytesMax = 1_000_000

const MiB = 1024 * 1024

/** What the lives of a peer work with: the first three come from an origin, the next is written, the last is a file that is seeded. */
const peerLengths = {
  c0: 1 * MiB + 1,
  c1: 5 * MiB,
  c2: 9 * MiB + 77,
  written: 4 * MiB + 5,
  seeded: 6 * MiB,
}

/** Name of a content of the lives of a peer. */
export type PeerItem = 'c0' | 'c1' | 'c2' | 'written' | 'seeded'
export const peerItems: readonly PeerItem[] = ['c0', 'c1', 'c2', 'written', 'seeded']

/** The content of that name. */
export function peerContent(name: PeerItem): Content {
  return new Content(peerLengths[name], 200 + peerItems.indexOf(name))
}

/** Most bytes of a peer's store: too few for all of them. */
export const peerBytesMax: number = 16 * MiB
