import { rm } from 'node:fs/promises'
import { PeerError } from '../errors.ts'
import type { Xxh64, Xxhash } from '../hash/xxhash.ts'
import { crc32 } from '../hash/crc32.ts'
import { type Geometry, geometry, pieceLengthMin } from '../task/piece.ts'
import { withErrno } from './errno.ts'
import { createFlags, OpenFile } from './open-file.ts'
import { CrcCheck } from './crc-check.ts'
import { type PieceSums, sumPieces } from './piece-check.ts'
import { growth, type Quota } from './quota.ts'
import type { SlabPool } from './slabs.ts'
import type { KeptTask, Spool, TaskRecord } from './store.ts'

/** A spool has two of these: one is filled while the other is written. A divisor of `pieceLengthMin`. */
const bufferBytes = 256 * 1024
/** Sums are kept for so many pieces of `pieceLengthMin`; longer content is read again at the end, which the rule nearly always wants anyhow. */
const sumsMax = 4096

/** The file of a spool that has ended well. */
export interface SpooledContent {
  readonly path: string
  readonly cut: Geometry
  readonly sums: PieceSums[]
}

/** What a disk spool needs from its store. */
export interface DiskSpoolHost {
  readonly quota: Quota
  readonly readSlabs: SlabPool
  readonly xxhash: Xxhash
  /** Fires with a `CLOSED` error when the store closes. */
  readonly lifetime: AbortSignal
  /** The file becomes the content of a task, or is left where it is because there is one already. Its bytes stay counted for the spool until this resolves. */
  take(record: TaskRecord, content: SpooledContent): Promise<KeptTask>
  /** The spool has ended. */
  ended(spool: DiskSpool): void
}

/** Content on its way to the disk whose length or id is not known yet: a file without a task. */
export class DiskSpool implements Spool {
  readonly #host: DiskSpoolHost
  readonly #path: string
  readonly #file: OpenFile
  readonly #sums: PieceSums[] = []
  /** Of all parts of `pieceLengthMin` bytes: 8 bytes for 4 MiB. */
  readonly #crcs: number[] = []
  #crc = 0
  #hash: Xxh64
  #filling = new Uint8Array(bufferBytes)
  #resting = new Uint8Array(bufferBytes)
  #filled = 0
  #length = 0
  #taken = 0
  #writing: Promise<void> = Promise.resolve()
  #tail: Promise<void> = Promise.resolve()
  #open = true

  private constructor(host: DiskSpoolHost, path: string, file: OpenFile) {
    this.#host = host
    this.#path = path
    this.#file = file
    this.#hash = host.xxhash.create64()
  }

  /** @param path - of the file that is made */
  static async open(host: DiskSpoolHost, path: string): Promise<DiskSpool> {
    return new DiskSpool(host, path, await OpenFile.open(path, createFlags))
  }

  get length(): number {
    return this.#length
  }

  write(chunk: Uint8Array): Promise<void> {
    return this.#inTurn(async () => {
      this.#refuseEnded()
      for (let at = 0; at < chunk.length; ) {
        if (this.#length === this.#taken) await this.#takeMore()
        const room = Math.min(bufferBytes - this.#filled, this.#taken - this.#length)
        const part = chunk.subarray(at, at + room)
        this.#filling.set(part, this.#filled)
        this.#filled += part.length
        this.#length += part.length
        at += part.length
        if (this.#filled === bufferBytes) await this.#send()
      }
    })
  }

  finish(record: TaskRecord, pieceLength?: number): Promise<KeptTask> {
    return this.#inTurn(async () => {
      this.#refuseEnded()
      this.#open = false
      try {
        const cut = geometry(this.#length, pieceLength)
        if (this.#filled > 0) await this.#send()
        await this.#writing
        if (this.#length % pieceLengthMin > 0) this.#endPiece()
        const sums = await this.#sumsFor(cut)
        return await this.#host.take(record, { path: this.#path, cut, sums })
      } finally {
        await this.#end()
      }
    })
  }

  discard(): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#open) return
      this.#open = false
      await this.#end()
    })
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work)
    this.#tail = result.then(
      () => undefined,
      // The caller of `work` is told; the next in turn only waits for its end.
      () => undefined,
    )
    return result
  }

  async #takeMore(): Promise<void> {
    const bytes = growth(this.#length)
    await this.#host.quota.take(bytes)
    this.#taken += bytes
  }

  /** Digests the buffer that was filled and sends it on its way, when the one before has arrived. A buffer never holds parts of two pieces. */
  async #send(): Promise<void> {
    const bytes = this.#filling.subarray(0, this.#filled)
    const position = this.#length - this.#filled
    this.#crc = crc32(bytes, this.#crc)
    this.#hash.update(bytes)
    if (this.#length % pieceLengthMin === 0) this.#endPiece()
    await this.#writing
    this.#filling = this.#resting
    this.#resting = new Uint8Array(bytes.buffer)
    this.#filled = 0
    this.#writing = this.#file.write(bytes, position)
    // Awaited before the next write; until then nobody listens.
    this.#writing.catch(() => undefined)
  }

  #endPiece(): void {
    this.#crcs.push(this.#crc)
    if (this.#sums.length < sumsMax) this.#sums.push({ crc: this.#crc, xxh64: this.#hash.digest() })
    this.#crc = 0
    this.#hash = this.#host.xxhash.create64()
  }

  async #sumsFor(cut: Geometry): Promise<PieceSums[]> {
    const { readSlabs, xxhash, lifetime } = this.#host
    if (cut.pieceLength === pieceLengthMin && cut.pieceCount === this.#sums.length) {
      return this.#sums
    }
    const check = new CrcCheck(this.#crcs, pieceLengthMin)
    const see = (bytes: Uint8Array): void => check.add(bytes)
    const sums = await sumPieces(this.#file, cut, { slabs: readSlabs, xxhash, see }, lifetime)
    // What the disk gives back becomes what others are told: it has to be what came in.
    if (sums !== undefined && check.good()) return sums
    throw new PeerError('STORE_FAILED', `${this.#path} is not what was written to it`, {
      path: this.#path,
      operation: 'read',
      errno: 'EIO',
    })
  }

  /** The file is removed unless it got another name. */
  async #end(): Promise<void> {
    await this.#writing.catch(() => undefined)
    this.#host.quota.give(this.#taken)
    this.#taken = 0
    this.#host.ended(this)
    const path = this.#path
    try {
      await this.#file.close()
    } finally {
      await withErrno({ path, operation: 'remove' }, rm(path, { force: true }))
    }
  }

  #refuseEnded(): void {
    this.#host.lifetime.throwIfAborted()
    if (!this.#open) throw new PeerError('CLOSED', 'The spool has ended', { what: 'spool' })
  }
}
