import type { FsCall, FsVerdict, FsWatcher } from './watched-fs.ts'

/** A point at which a process can be killed: a call and a moment of it, such as `write journal torn`. */
export type Point = string

/** How a life ends. */
export type Blow =
  /** At the `count`th passing of a named point. */
  | { readonly is: 'point'; readonly point: Point; readonly count: number; readonly share: number }
  /** At the `count`th call that can change the disk, whichever. */
  | { readonly is: 'call'; readonly count: number; readonly share: number }
  /** From outside, so many milliseconds after the store was opened. */
  | { readonly is: 'time'; readonly afterMs: number }
  /**
   * As after a power failure: what was written last to one kind of file never reached the disk, or only its length did, while later writes to others have. The
   * writes to `kind` from the `from`th on are lost; the kill comes `count` calls later.
   */
  | {
      readonly is: 'power'
      readonly kind: 'journal' | 'content' | 'spool'
      readonly from: number
      readonly count: number
      readonly zeros: boolean
    }
  /** Not at all: the points that it passes are counted and told. */
  | { readonly is: 'none' }

/** Brings the blow. */
export class Striker implements FsWatcher {
  /** How often each point was passed. */
  readonly passed: Map<Point, number> = new Map()
  readonly #blow: Blow
  readonly #kill: () => void
  #calls = 0
  #lostWrites = 0
  #strikeAt = Number.POSITIVE_INFINITY

  constructor(blow: Blow, kill: () => void) {
    this.#blow = blow
    this.#kill = kill
  }

  before(call: FsCall): FsVerdict {
    if (!call.changes) return undefined
    this.#calls++
    const blow = this.#blow
    this.#pass(`${call.name} before`)
    if (call.put !== undefined) {
      if (this.#isAt(`${call.name} torn`)) this.#tear(call)
    }
    if (blow.is === 'call' && this.#calls === blow.count) {
      if (call.put !== undefined && blow.share > 0) this.#tear(call)
      this.#kill()
    }
    if (blow.is === 'power') return this.#lose(call, blow)
    return undefined
  }

  after(call: FsCall): void {
    if (call.changes) this.#pass(`${call.name} after`)
  }

  #pass(point: Point): void {
    if (this.#isAt(point)) this.#kill()
  }

  #isAt(point: Point): boolean {
    const count = (this.passed.get(point) ?? 0) + 1
    this.passed.set(point, count)
    const blow = this.#blow
    return blow.is === 'point' && blow.point === point && blow.count === count
  }

  /** A part of the bytes reaches the disk, and nothing comes after it. */
  #tear({ bytes, put }: FsCall): void {
    const blow = this.#blow
    const share = blow.is === 'point' || blow.is === 'call' ? blow.share : 0
    if (bytes !== undefined) put?.(bytes.subarray(0, Math.floor(bytes.length * share)))
    this.#kill()
  }

  #lose(call: FsCall, blow: Blow & { readonly is: 'power' }): FsVerdict {
    if (this.#calls >= this.#strikeAt) this.#kill()
    if (call.name !== `write ${blow.kind}`) return undefined
    this.#lostWrites++
    if (this.#lostWrites < blow.from) return undefined
    if (this.#lostWrites === blow.from) this.#strikeAt = this.#calls + blow.count
    if (blow.zeros && call.bytes !== undefined) call.put?.(new Uint8Array(call.bytes.length))
    return 'skip'
  }
}
