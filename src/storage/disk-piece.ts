import { PeerError } from '../errors.ts'
import { pieceDigest } from '../hash/digest.ts'
import type { Piece } from '../task/piece.ts'
import type { OpenPiece } from '../task/ports.ts'
import type { ContentFile } from './content-file.ts'
import type { Lease } from './descriptors.ts'
import { sameContent, type Stamp } from './open-file.ts'
import { isUnreadable } from './piece-check.ts'
import type { KeptPiece } from './piece-table.ts'

/** What an open piece holds until it is closed. */
export interface DiskPieceParts {
  readonly content: ContentFile
  readonly lease: Lease
  /** How the file was when the piece was believed; undefined for an own file. */
  readonly stamp: Stamp | undefined
  /** The error for bytes that are not what was kept. */
  readonly damaged: () => unknown
  readonly onClose: () => void
}

/** A piece of a file, open for reading. Keeps its descriptor, so it can be read to the end whatever happens to the task. */
export class DiskPiece implements OpenPiece {
  readonly piece: Piece
  readonly digest: string
  readonly parentId: string
  readonly createdAt: number
  readonly memory: undefined
  readonly #parts: DiskPieceParts
  #open = true

  constructor(piece: Piece, kept: KeptPiece, parts: DiskPieceParts) {
    this.piece = piece
    this.digest = pieceDigest(kept.crc)
    this.parentId = kept.parentId
    this.createdAt = kept.createdAt
    this.#parts = parts
  }

  get file(): { readonly descriptor: number; readonly position: number } | undefined {
    if (!this.#open) return undefined
    return { descriptor: this.#parts.lease.file.descriptor, position: this.piece.offset }
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    if (!this.#open) throw new PeerError('CLOSED', 'The piece is closed', { what: 'piece' })
    const wanted = Math.min(into.length, this.piece.length - position)
    if (wanted <= 0) return 0
    const { content, lease, damaged } = this.#parts
    let count = 0
    try {
      count = await lease.file.read(into.subarray(0, wanted), this.piece.offset + position)
    } catch (error) {
      // Was it believed, nobody would look at it again, and each reader would meet the same bad place.
      if (!isUnreadable(error)) throw error
    }
    if (count < wanted || this.#written()) {
      content.doubt(this.piece.number)
      throw damaged()
    }
    return count
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    this.#parts.lease.release()
    this.#parts.onClose()
  }

  /** Whether somebody else wrote to the file since the piece was believed. Asked after each read, so that nothing written before it gets out. */
  #written(): boolean {
    const { content, lease, stamp } = this.#parts
    if (content.ownership === 'own') return false
    const before = stamp ?? content.linkedStamp
    return before !== undefined && !sameContent(before, lease.file.stamp())
  }
}
