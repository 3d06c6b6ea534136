import { fchmod, futimes } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { type Geometry, pieceAt } from '../task/piece.ts'
import type { ContentFile, ContentHost } from './content-file.ts'
import type { Lease } from './descriptors.ts'
import { sameContent, settled } from './open-file.ts'
import { isUnreadable, readPiece } from './piece-check.ts'
import { placeOutput } from './placement.ts'
import type { OutputOptions, OutputWay, TemporaryNotes } from './store.ts'

/** Rights of a file that an output has as well. */
const linkedMode = 0o444

/** A complete task's file on its way out. */
export interface ContentOutput {
  readonly content: ContentFile
  readonly lease: Lease
  readonly cut: Geometry
  /** Where temporary files are written down. */
  readonly notes: TemporaryNotes
  /** Writes into the journal that others can write to the file from now on. */
  readonly saveLinked: () => Promise<void>
  /** The error when the file was written to while it was copied. */
  readonly damaged: () => unknown
}

/** Makes an output of a file all of whose pieces were just seen to be good. */
export async function outputContent(
  host: ContentHost,
  source: ContentOutput,
  path: string,
  options: OutputOptions,
): Promise<OutputWay> {
  const { content, lease, cut } = source
  const before = lease.file.stamp()
  const way = await placeOutput(
    {
      length: cut.contentLength,
      file: content.path,
      notes: source.notes,
      copyInto: (output, signal) => copyInto(host, source, output, signal),
      check: () => {
        if (!sameContent(before, lease.file.stamp())) throw source.damaged()
      },
      // An adopted file is the application's, and so are its links and rights.
      ...(content.ownership === 'adopted' ? {} : { beforeLink: () => beforeLink(host, source) }),
    },
    path,
    options,
  )
  if (content.ownership === 'linked') content.restamp(lease.file.stamp())
  return way
}

/** own → linked, and the journal knows before anybody else can have the inode. */
async function beforeLink(host: ContentHost, source: ContentOutput): Promise<void> {
  const { content } = source
  const { file } = source.lease
  if (content.ownership !== 'own') return
  await file.call('chmod', (fd, done) => fchmod(fd, linkedMode, done))
  const now = host.clock.date()
  if (!settled(file.stamp(), now)) {
    // A write within the step of the clock in which the last piece was written would not show. An older time makes sure that every write does.
    const seconds = now / 1000
    await file.call('utimes', (fd, done) => futimes(fd, seconds, seconds - backdateSeconds, done))
  }
  content.link(file.stamp())
  await source.saveLinked()
}

/** More than the coarsest step in which a file system with hard links keeps times. */
const backdateSeconds = 2

async function copyInto(
  host: ContentHost,
  source: ContentOutput,
  output: FileHandle,
  signal: AbortSignal,
): Promise<void> {
  const { cut, lease } = source
  const write = async (bytes: Uint8Array, position: number): Promise<void> => {
    for (let at = 0; at < bytes.length; ) {
      at += (await output.write(bytes, at, bytes.length - at, position + at)).bytesWritten
    }
  }
  for (let number = 0; number < cut.pieceCount; number++) {
    const piece = pieceAt(cut, number)
    let whole = false
    try {
      whole = await readPiece(lease.file, piece, host.readSlabs, signal, write)
    } catch (error) {
      // What `write` throws is no PeerError, so this is about the source.
      if (!isUnreadable(error)) throw error
      source.content.doubt(number)
    }
    if (!whole) throw source.damaged()
  }
}
