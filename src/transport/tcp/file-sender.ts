import type { Socket } from 'node:net'
import type { OpenPiece } from '../../task/ports.ts'
import type { NativeFlow } from '../../util/flow.ts'
import { move } from '../../util/flow-move.ts'
import type { RateGate } from '../transport.ts'
import { descriptorOf } from '../../util/descriptor.ts'
import type { Outbox } from './outbox.ts'
import { partBytes } from './read-buffers.ts'

/** The end of a piece that is never sent this way: reading it shows whether the file was written to meanwhile. */
const tailBytes = 16 * 1024
/** Pieces below this length are not worth the way through another thread. */
const lengthMin = 128 * 1024
/** Most bytes that are sent at once when there is no limit. */
const freePartBytes = 8 * 1024 * 1024

/** What sends with. */
export interface FileSenderParts {
  readonly flow: NativeFlow | undefined
  readonly socket: Socket
  readonly outbox: Outbox
  readonly uploadRate: RateGate
}

/**
 * Sends most of a piece from its file, without reading it: the kernel takes the pages as they lie in its cache. Resolves with how many bytes went, 0 where it cannot be done
 * or failed; the rest has to be read and sent, which also tells what is wrong with the file.
 *
 * @param begin - sends what goes before the content; called when it can be done
 */
export async function sendFile(
  { flow, socket, outbox, uploadRate }: FileSenderParts,
  { piece, file }: OpenPiece,
  begin: () => Promise<void>,
  signal: AbortSignal,
): Promise<number> {
  if (flow === undefined || file === undefined || piece.length < lengthMin) return 0
  await begin()
  const end = piece.length - tailBytes
  let at = 0
  outbox.begin()
  try {
    while (at < end) {
      // Each part asks for its share, so that a limit holds from the moment on that it is set.
      const part = Math.min(end - at, uploadRate.limited === false ? freePartBytes : partBytes)
      await uploadRate.take(part, signal)
      const stop = at + part
      while (at < stop) {
        const descriptor = descriptorOf(socket)
        signal.throwIfAborted()
        if (descriptor === undefined) return at
        const { count, fileError, socketFailed } = await move(
          (done) => flow.send(descriptor, file.descriptor, file.position + at, stop - at, done),
          (id) => flow.cancel(id),
          signal,
        )
        at += count
        outbox.passed(count)
        if (fileError !== undefined || socketFailed) return at
      }
    }
    return at
  } catch (error) {
    // It could not begin, for want of descriptors mostly.
    if (error instanceof Error && 'code' in error && error.code === 'ERR_FLOW') return at
    throw error
  } finally {
    outbox.end()
  }
}
