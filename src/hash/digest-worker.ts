import { parentPort, workerData } from 'node:worker_threads'
import { type DigestAlgorithm, Hasher } from './digest.ts'

/** What a large `ContentHasher` sends to its thread: buffers in the order of the content, then the end. */
export type DigestRequest =
  | { readonly is: 'bytes'; readonly buffer: ArrayBuffer; readonly count: number }
  | { readonly is: 'end' }

/** What the thread answers: buffers that are free again, and at the end the digest. */
export type DigestAnswer =
  | { readonly is: 'free'; readonly buffer: ArrayBuffer }
  | { readonly is: 'digest'; readonly digest: string }

/** Body of the thread. Does nothing when this file is loaded outside of one. */
function work(port: NonNullable<typeof parentPort>): void {
  const hasher = new Hasher(workerData as DigestAlgorithm)
  const answer = (message: DigestAnswer, transfer: ArrayBuffer[] = []): void =>
    port.postMessage(message, transfer)
  port.on('message', (request: DigestRequest) => {
    switch (request.is) {
      case 'bytes':
        hasher.update(new Uint8Array(request.buffer, 0, request.count))
        answer({ is: 'free', buffer: request.buffer }, [request.buffer])
        return
      case 'end':
        answer({ is: 'digest', digest: hasher.digest() })
        return
    }
  })
}

if (parentPort !== null) work(parentPort)
