import { PeerError } from '../../src/errors.ts'
import { crc32 } from '../../src/hash/crc32.ts'
import { pieceDigest } from '../../src/hash/digest.ts'
import type { Geometry, Piece } from '../../src/task/piece.ts'
import { pieceAt } from '../../src/task/piece.ts'
import type {
  Feed,
  Have,
  Parent,
  ParentAddress,
  PieceReader,
  PieceRequest,
  Received,
  Slot,
} from '../../src/task/ports.ts'
import { never, type VirtualClock } from './clock.ts'
import { contentOf } from './content.ts'

/** How a simulated parent behaves. Fields may be changed at any time. */
export interface Manners {
  /** Time from the request to the first byte. */
  delayMs: number
  /** Time from the first byte to the last. */
  sendMs: number
  /** `silent` never sends, `stuck` stops in the middle; `wrong` sends other bytes with the right digest; `undigested` sends no digest. */
  reads: 'well' | 'silent' | 'stuck' | 'wrong' | 'undigested' | 'short' | 'unreachable' | 'refused'
  /** Whether it answers a ping. */
  alive: boolean
  /** `open` tells and never ends; `ends` ends after what it has told. */
  feed: 'open' | 'ends' | 'mute' | 'unreachable' | 'refused' | 'changed' | 'lies' | 'floods'
  /** The version that it tells. */
  version: string | undefined
  /** Whether it tells digests before it is read. */
  digests: boolean
  /** Which content it holds; 0 is the right one. */
  content: number
}

/** One simulated parent. */
export class SimParent {
  readonly parent: Parent
  readonly manners: Manners
  readonly haves: Set<number> = new Set()
  readonly #watchers = new Set<(number: number) => void>()
  /** Requests for pieces, in order, with their time. */
  readonly asked: { readonly number: number; readonly at: number }[] = []
  /** Reads that run now. */
  reading = 0
  /** Feeds that are open now, and that were ever opened. */
  feeds = 0
  feedsOpened = 0
  /** Pings that it got. */
  pings = 0
  /** Peer ids under which its feeds were opened, in order. */
  readonly namedBy: string[] = []

  constructor(id: string, manners: Partial<Manners> = {}) {
    this.parent = { id, hostId: `host-${id}`, ip: '127.0.0.1', port: 4000, seed: false }
    const usual = { delayMs: 10, sendMs: 10, alive: true, reads: 'well', feed: 'ends' } as const
    const told = { version: undefined, digests: false, content: 0 }
    this.manners = { ...usual, ...told, ...manners }
  }

  /** Gets pieces now, and tells whoever watches. */
  gets(...numbers: readonly number[]): this {
    for (const number of numbers) {
      this.haves.add(number)
      for (const watcher of this.#watchers) watcher(number)
    }
    return this
  }

  watch(call: (number: number) => void): () => void {
    this.#watchers.add(call)
    return () => this.#watchers.delete(call)
  }
}

/** All parents there are, as feed and as reader. */
export class SimParents implements Feed, PieceReader {
  readonly #cut: Geometry
  readonly #clock: VirtualClock
  readonly #parents = new Map<string, SimParent>()

  constructor(cut: Geometry, clock: VirtualClock) {
    this.#cut = cut
    this.#clock = clock
  }

  /** Adds a parent that has these pieces. */
  add(id: string, numbers: Iterable<number>, manners: Partial<Manners> = {}): SimParent {
    const parent = new SimParent(id, manners).gets(...numbers)
    this.#parents.set(id, parent)
    return parent
  }

  get(id: string): SimParent {
    const parent = this.#parents.get(id)
    if (parent === undefined) throw new Error(`No parent ${id}`)
    return parent
  }

  /** Reads and feeds that are open anywhere. */
  get open(): number {
    let count = 0
    for (const parent of this.#parents.values()) count += parent.reading + parent.feeds
    return count
  }

  async watch(
    { id }: Parent,
    request: { readonly numbers: readonly number[]; readonly peerId?: string },
    onHave: (have: Have) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const parent = this.get(id)
    parent.feeds++
    parent.feedsOpened++
    if (request.peerId !== undefined) parent.namedBy.push(request.peerId)
    const asked = new Set(request.numbers)
    const tell = (number: number): void => {
      if (!asked.has(number)) return
      const piece = pieceAt(this.#cut, number)
      const offset = parent.manners.feed === 'lies' ? piece.offset + 1 : piece.offset
      const endpoint = { ip: '127.0.0.1', tcpPort: 4001 }
      const { version, digests } = parent.manners
      onHave({
        number,
        offset,
        length: piece.length,
        endpoint,
        ...(version === undefined ? {} : { version }),
        ...(digests ? { digest: pieceDigest(crc32(this.#bytes(parent, piece))) } : {}),
      })
    }
    const unwatch = parent.watch(tell)
    try {
      await this.#clock.sleep(1, signal)
      this.#refuse(id, parent.manners.feed)
      if (parent.manners.feed === 'mute') await never(signal)
      for (const number of parent.haves) tell(number)
      if (parent.manners.feed === 'floods') {
        for (let count = 0; count < 1e6 && !signal.aborted; count++) tell(0)
      }
      if (parent.manners.feed === 'ends') return
      await never(signal)
    } finally {
      unwatch()
      parent.feeds--
    }
  }

  ping({ id }: Parent): Promise<void> {
    const parent = this.get(id)
    parent.pings++
    return parent.manners.alive ? Promise.resolve() : new Promise(() => undefined)
  }

  async read(
    { parent: { id } }: ParentAddress,
    { piece }: PieceRequest,
    slot: Slot,
    signal: AbortSignal,
  ): Promise<Received> {
    const parent = this.get(id)
    parent.asked.push({ number: piece.number, at: this.#clock.now() })
    parent.reading++
    try {
      await this.#clock.sleep(parent.manners.delayMs, signal)
      this.#refuse(id, parent.manners.reads)
      if (parent.manners.reads === 'silent') await never(signal)
      const content = this.#bytes(parent, piece)
      const digest = pieceDigest(crc32(content))
      const wrong = parent.manners.reads === 'wrong'
      if (wrong) content[0] = 255 - (content[0] ?? 0)
      const half = piece.length >> 1
      await put(slot, content.subarray(0, half))
      if (parent.manners.reads === 'stuck') await never(signal)
      await this.#clock.sleep(parent.manners.sendMs, signal)
      if (parent.manners.reads !== 'short') await put(slot, content.subarray(half))
      // Manners may change on the way, but what is wrong has a digest: without one nobody could tell.
      const undigested = !wrong && parent.manners.reads === 'undigested'
      return { digest: undigested ? '' : digest }
    } finally {
      parent.reading--
    }
  }

  /** Each content is the right one from another place on. */
  #bytes({ manners }: SimParent, { offset, length }: Piece): Uint8Array {
    return contentOf(offset + manners.content * 1_000_003, length)
  }

  #refuse(parent: string, how: Manners['feed'] | Manners['reads']): void {
    const details = { parent, reason: 'Simulated' }
    if (how === 'unreachable') throw new PeerError('PARENT_UNREACHABLE', 'Simulated', details)
    if (how === 'refused') throw new PeerError('PARENT_REFUSED', 'Simulated', details)
    if (how !== 'changed') return
    const change = { url: '', what: 'etag', expected: 'a', actual: 'b' } as const
    throw new PeerError('ORIGIN_CHANGED', 'Simulated', change)
  }
}

async function put(slot: Slot, bytes: Uint8Array): Promise<void> {
  let rest = bytes
  while (rest.length > 0) {
    const space = slot.space()
    if (space === undefined) {
      await slot.drained()
      continue
    }
    const part = rest.subarray(0, space.length)
    if (part.length === 0) throw new Error('The slot is full')
    space.set(part)
    slot.fill(part.length)
    rest = rest.subarray(part.length)
  }
}
