import type { MessageInitShape } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import type {
  DownloadPersistentCacheTaskRequest,
  DownloadPersistentCacheTaskResponseSchema,
  DownloadTaskRequest,
  DownloadTaskResponseSchema,
} from '../../rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { numbersIn } from '../../task/piece.ts'
import { output } from '../../task/output.ts'
import { outputRange } from '../output-range.ts'
import type { Opened, Tasks } from '../tasks.ts'
import { checkDigest, forgetRotten } from '../whole-digest.ts'
import type { World } from '../world.ts'
import type { Call, Calls } from './calls.ts'
import { localFailure } from './failure.ts'
import { LeftPlaces, OutputPlace } from './output-place.ts'
import { announced, KeptBefore, pieceMessages } from './piece-messages.ts'
import type { Prefetches } from './prefetches.ts'
import { lastOf, unusable } from './range-header.ts'
import { downloadOrder, exportOrder, type Order } from './request.ts'
import { TransferMemory } from './transfer-memory.ts'

/**
 * Bytes of content on their way to tools in messages, of all calls together. A message is a piece; encoding it costs up to three times its length for a
 * moment. One piece may always travel, however long.
 */
export const transferBytesMax: number = 128 * 1024 * 1024

type TaskMessage = MessageInitShape<typeof DownloadTaskResponseSchema>
type CacheMessage = MessageInitShape<typeof DownloadPersistentCacheTaskResponseSchema>
type Response<M extends TaskMessage | CacheMessage> = NonNullable<M['response']>

/** What is said first: the content is known, and so are the pieces that will come. */
interface Start {
  readonly opened: Opened
  readonly order: Order
  readonly numbers: readonly number[]
  readonly finished: boolean
}

/** What deliveries need. */
export interface DeliveryParts {
  readonly world: World
  readonly tasks: Tasks
  readonly calls: Calls
  readonly prefetches: Prefetches
  /** Folder of the store on disk, if there is one. */
  readonly storeDir: string | undefined
}

/** Delivers content to tools: into files, as pieces with their bytes, or both. The tool goes away: what nobody else wants is not fetched any further. */
export class Deliveries {
  readonly #parts: DeliveryParts
  readonly #memory = new TransferMemory(transferBytesMax)
  readonly #left: LeftPlaces

  constructor(parts: DeliveryParts) {
    this.#parts = parts
    this.#left = new LeftPlaces(parts.world.clock)
  }

  /** Answers DownloadTask. */
  async *download(
    { download }: DownloadTaskRequest,
    outer: AbortSignal,
  ): AsyncGenerator<TaskMessage, void, undefined> {
    const order = downloadOrder(download)
    yield* this.#answer<TaskMessage>(order, outer, startedTask)
  }

  /** Answers DownloadPersistentCacheTask. */
  async *exportTask(
    request: DownloadPersistentCacheTaskRequest,
    outer: AbortSignal,
  ): AsyncGenerator<CacheMessage, void, undefined> {
    yield* this.#answer<CacheMessage>(exportOrder(request), outer, startedExport)
  }

  /** Removes what tools left behind. */
  async close(): Promise<void> {
    await this.#left.close()
  }

  async *#answer<M extends TaskMessage | CacheMessage>(
    order: Order,
    outer: AbortSignal,
    started: (start: Start) => Response<M>,
  ): AsyncGenerator<M, void, undefined> {
    const { world, calls } = this.#parts
    const names = { hostId: world.host.id, peerId: world.newPeerId() }
    try {
      using call = await calls.enter('download', outer, order.timeoutMs)
      for await (const { taskId, response } of this.#deliver(order, call, outer, started)) {
        const asked = call.handed()
        try {
          yield { ...names, taskId, response } as M
        } finally {
          asked()
        }
      }
    } catch (error) {
      throw localFailure(error)
    }
  }

  /** Keeps the name of the output for as long as it takes. */
  async *#deliver<M extends TaskMessage | CacheMessage>(
    order: Order,
    call: Call,
    outer: AbortSignal,
    started: (start: Start) => Response<M>,
  ): AsyncGenerator<{ readonly taskId: string; readonly response: Response<M> }, void, undefined> {
    const { output: wish } = order
    const place =
      wish === undefined ? undefined : await OutputPlace.take(wish, this.#parts.storeDir)
    let state: 'silent' | 'told' | 'done' = 'silent'
    let failed = false
    try {
      for await (const message of this.#fetch(order, call, started, place)) {
        state = 'told'
        yield message
      }
      state = 'done'
    } catch (error) {
      failed = true
      throw error
    } finally {
      // A tool that hears of a failure after the first message removes the file itself, and needs one for that.
      if (place !== undefined && state === 'told' && failed && !outer.aborted) {
        this.#left.add(place)
      } else if (state !== 'done') {
        await place?.remove()
      }
    }
  }

  async *#fetch<M extends TaskMessage | CacheMessage>(
    order: Order,
    { signal }: Call,
    started: (start: Start) => Response<M>,
    place: OutputPlace | undefined,
  ): AsyncGenerator<{ readonly taskId: string; readonly response: Response<M> }, void, undefined> {
    const { world, tasks, prefetches } = this.#parts
    const before = new KeptBefore(tasks.find(order.want.spec.id)?.task, world.clock.date())
    const want = { ...order.want, range: await this.#range(order, signal) }
    const opened = await tasks.open(want, signal)
    const { spec, task, share } = opened
    const release = task.hold()
    const hashing = new AbortController()
    const stop = (): void => {
      share?.leave(signal.reason)
      hashing.abort(signal.reason)
    }
    signal.addEventListener('abort', stop, { once: true })
    const hashed =
      spec.digest === undefined ? undefined : checkDigest(opened, spec.digest, hashing.signal)
    // Looked at below; until then a failure of it must not end the process.
    hashed?.catch(() => undefined)
    try {
      if (order.prefetch) prefetches.start({ ...want, range: undefined })
      const { id: taskId } = spec
      const numbers = numbersIn(task.geometry, want.range)
      const finished = before.complete && before.is(task)
      yield { taskId, response: started({ opened, order: { ...order, want }, numbers, finished }) }
      const memory = order.content ? this.#memory : undefined
      const ending = tasks.ending(taskId)
      for await (const piece of pieceMessages(
        { opened, numbers, ending, before, memory },
        signal,
      )) {
        yield {
          taskId,
          response: { case: 'downloadPieceFinishedResponse', value: { piece } },
        }
      }
      await hashed
      signal.throwIfAborted()
      await place?.put((path, overwrite) => makeOutput(opened, want.range, path, overwrite, signal))
      if (order.pinned && spec.kind === 'persistentCache') await task.update({ persistent: true })
    } catch (error) {
      throw await forgetRotten(tasks, opened, error, signal)
    } finally {
      signal.removeEventListener('abort', stop)
      stop()
      // It reads what is kept: not after the call.
      await hashed?.catch(() => undefined)
      release()
    }
  }

  async #range({ want, lastBytes }: Order, signal: AbortSignal): Promise<Order['want']['range']> {
    if (lastBytes === undefined) return want.range
    const { world, tasks } = this.#parts
    const { url = '', headers, id } = want.spec
    const length =
      want.backToSource === 'allow'
        ? (await world.sources.bind({ url, headers }).stat(signal)).length
        : (tasks.find(id)?.task.geometry.contentLength ??
          (await world.scheduler.statTask(id, signal))?.geometry?.contentLength)
    if (length === undefined) throw unusable('The length of the content is not known')
    return lastOf(lastBytes, length)
  }
}

async function makeOutput(
  { spec, task, store, share }: Opened,
  range: Order['want']['range'],
  path: string,
  overwrite: boolean,
  signal: AbortSignal,
): Promise<'link' | 'reflink' | 'copy'> {
  if (range === undefined) return task.output(path, { overwrite, writable: false, signal })
  const cut = task.geometry
  const waited = share === undefined ? {} : { share }
  const request = { shelf: store, taskId: spec.id, kind: spec.kind, cut, range, ...waited }
  await outputRange({ path, overwrite, signal }, output(request, signal), store)
  return 'copy'
}

function startedTask({ opened, order, numbers, finished }: Start): Response<TaskMessage> {
  const { task } = opened
  const { range } = order.want
  return {
    case: 'downloadTaskStartedResponse',
    value: {
      contentLength: BigInt(task.geometry.contentLength),
      responseHeader: { ...task.record.headers },
      pieces: announced(task, numbers).map((piece) => ({
        ...piece,
        createdAt: timestampFromMs(task.record.createdAt),
      })),
      isFinished: finished,
      ...(range === undefined
        ? {}
        : {
            range: {
              start: BigInt(range.start),
              length: BigInt(Math.min(range.length, task.geometry.contentLength - range.start)),
            },
          }),
    },
  }
}

function startedExport({ opened }: Start): Response<CacheMessage> {
  return {
    case: 'downloadPersistentCacheTaskStartedResponse',
    value: { contentLength: BigInt(opened.task.geometry.contentLength) },
  }
}
