import type { Xxhash } from '../hash/xxhash.ts'
import type { Geometry, Piece } from '../task/piece.ts'
import { Bitmap } from '../util/bitmap.ts'
import type { Clock } from '../util/clock.ts'
import { abortable } from '../util/scope.ts'
import type { Descriptors, Lease } from './descriptors.ts'
import { sameContent, sameStamp, settled, type Stamp } from './open-file.ts'
import { hashPiece, isUnreadable } from './piece-check.ts'
import type { SlabPool } from './slabs.ts'

/**
 * Who can write to a file. `own`: the store alone. `linked`: an output has the same inode, so the application can. `adopted`: it is the application's file.
 */
export type Ownership = 'own' | 'linked' | 'adopted'

/** What a file needs to be read and compared. */
export interface ContentHost {
  readonly clock: Clock
  /** Fires with a `CLOSED` error when the store closes. */
  readonly lifetime: AbortSignal
  readonly descriptors: Descriptors
  /** For pieces that are compared or copied: apart from those for pieces on their way in, so that no stalled parent holds them up. */
  readonly readSlabs: SlabPool
  readonly xxhash: Xxhash
}

/** What came of comparing a piece. `stamp` is how the file was then; undefined for an own file. `changing`: somebody keeps writing to the file. */
export type Compared =
  | { readonly is: 'same'; readonly stamp: Stamp | undefined }
  | { readonly is: 'damaged' }
  | { readonly is: 'changing' }

/** How often a piece is compared while somebody keeps writing to the file. */
const comparesMax = 3

/**
 * The file behind a task, and which of its pieces are believed to be what was kept. A task that gets another file gets another one of these.
 *
 * A piece is believed once it was seen in this run of the process: written by it, or read and compared. In a file that others can write to that holds
 * for one stamp only: when the file has another stamp than last time, nothing is believed until it is compared again. A stamp that is not settled, see
 * `settled()`, is believed for no longer than the call.
 *
 * A program that writes through a memory map can change bytes some time before the file system stamps the file. Nothing on this side shows that; the digest
 * that goes with each piece is what keeps such bytes from spreading.
 */
export class ContentFile {
  readonly path: string
  readonly #host: ContentHost
  #believed: Bitmap
  /** Comparisons under way, by piece. Undefined before the first: most files never see one, and an empty map takes 180 bytes. */
  #hashing: Map<number, Promise<bigint | undefined>> | undefined
  #ownership: Ownership
  #stamp: Stamp | undefined
  #linkedStamp: Stamp | undefined

  /** @param stamp - of an adopted file, when its pieces were digested */
  constructor(host: ContentHost, path: string, cut: Geometry, ownership: Ownership, stamp?: Stamp) {
    this.#host = host
    this.path = path
    this.#ownership = ownership
    this.#stamp = stamp
    this.#believed = new Bitmap(cut.pieceCount)
  }

  get ownership(): Ownership {
    return this.#ownership
  }

  /** How the file was when it was last looked at; undefined for an own file. */
  get stamp(): Stamp | undefined {
    return this.#stamp
  }

  /** How the file was when it was still the store's alone, if it was so in this run. */
  get linkedStamp(): Stamp | undefined {
    return this.#linkedStamp
  }

  /** Its descriptor. @throws PeerError FILE_NOT_FOUND, PERMISSION_DENIED, STORE_FAILED */
  lease(writable: boolean): Promise<Lease> {
    return this.#host.descriptors.lease(this, this.path, writable)
  }

  /** Whether the piece is what was kept, which is the case when it is believed, and seen by reading it otherwise. */
  async compare(lease: Lease, piece: Piece, xxh64: bigint, signal: AbortSignal): Promise<Compared> {
    for (let count = 0; count < comparesMax; count++) {
      const before = this.#look(lease)
      if (this.#believed.has(piece.number)) return { is: 'same', stamp: before }
      const found = await abortable(this.#hash(piece), signal)
      if (found !== xxh64) return { is: 'damaged' }
      const after = this.#look(lease)
      if (before === after || (before && after && sameContent(before, after))) {
        this.believe(piece.number)
        return { is: 'same', stamp: after }
      }
    }
    return { is: 'changing' }
  }

  /** The piece was seen to be what was kept, while the file had the stamp that it has now. */
  believe(number: number): void {
    const stamp = this.#stamp
    if (this.#ownership !== 'own') {
      if (stamp === undefined || !settled(stamp, this.#host.clock.date())) return
    }
    this.#believed.add(number)
  }

  /** The piece has to be compared again. */
  doubt(number: number): void {
    this.#believed.delete(number)
  }

  /** own → linked. An output is about to get this inode; `stamp` is from before. */
  link(stamp: Stamp): void {
    this.#ownership = 'linked'
    this.#stamp = stamp
    this.#linkedStamp = stamp
  }

  /** The store itself changed links or rights, which shows in the stamp. What was believed still is, unless somebody wrote as well. */
  restamp(stamp: Stamp): void {
    if (this.#stamp !== undefined && sameContent(this.#stamp, stamp)) this.#stamp = stamp
  }

  /** How the file is now; stops believing when that is not as it was. Undefined for an own file. */
  #look(lease: Lease): Stamp | undefined {
    if (this.#ownership === 'own') return undefined
    const stamp = lease.file.stamp()
    if (this.#stamp !== undefined && sameStamp(this.#stamp, stamp)) return stamp
    this.#stamp = stamp
    this.#believed = new Bitmap(this.#believed.count)
    return stamp
  }

  /** The piece's xxh64 as the file has it; undefined when it cannot be read. One at a time for each piece, whoever asks. */
  #hash(piece: Piece): Promise<bigint | undefined> {
    const all = (this.#hashing ??= new Map())
    const running = all.get(piece.number)
    if (running !== undefined) return running
    const hashing = this.#hashNow(piece).finally(() => all.delete(piece.number))
    all.set(piece.number, hashing)
    return hashing
  }

  /** With a lease of its own: the one who asked first may go while others wait. */
  async #hashNow(piece: Piece): Promise<bigint | undefined> {
    const { readSlabs, xxhash, lifetime } = this.#host
    const lease = await this.lease(false)
    try {
      return await hashPiece(lease.file, piece, readSlabs, xxhash, lifetime)
    } catch (error) {
      if (isUnreadable(error)) return undefined
      throw error
    } finally {
      lease.release()
    }
  }
}
