import { Code, ConnectError } from '@connectrpc/connect'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt'
import { PeerError } from '../errors.ts'
import { backendError } from '../rpc/backend-detail.ts'
import { type Download, type PieceSchema, TrafficType } from '../rpc/gen/common/v2/common_pb.ts'
import type {
  DownloadPersistentCacheTaskRequest,
  DownloadPersistentCacheTaskResponseSchema,
  DownloadTaskResponseSchema,
} from '../rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { pieceAt } from '../task/piece.ts'
import { Scope } from '../util/scope.ts'
import { holds } from './announcements.ts'
import { downloadSettings } from './download-settings.ts'
import { type OutputWish, type PermittedOutput, permitOutput } from './permission.ts'
import { pieceNews } from './piece-news.ts'
import type { Opened, Tasks, Want } from './tasks.ts'
import { checkDigest, forgetRotten } from './whole-digest.ts'
import type { Signals, World } from './world.ts'

/** Downloads ordered over the network at the same time; one more is refused with RESOURCE_EXHAUSTED. */
export const triggersMax: number = 256

type TaskMessage = MessageInitShape<typeof DownloadTaskResponseSchema>
type ReplicaMessage = MessageInitShape<typeof DownloadPersistentCacheTaskResponseSchema>

/**
 * Downloads that the scheduler orders: a seed peer is sent to the origin, any peer is asked to keep a replica or to fetch ahead. The caller is not trusted: no
 * URL of this machine's files, and a path is written to only where `options.tls` allows it.
 */
export class Trigger {
  readonly #world: World
  readonly #tasks: Tasks
  readonly #signals: Signals
  #running = 0

  constructor(world: World, tasks: Tasks, signals: Signals) {
    this.#world = world
    this.#tasks = tasks
    this.#signals = signals
  }

  /** Answers DownloadTask. The download goes on when the caller goes away: the scheduler only starts it. */
  async *download(
    download: Download | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<TaskMessage, void, undefined> {
    if (download === undefined) throw new ConnectError('No download', Code.InvalidArgument)
    const want = wantOf(download)
    const output = await this.#output('DownloadTask', download)
    if (output !== undefined && want.range !== undefined) {
      throw new ConnectError('output_path needs the whole content', Code.InvalidArgument)
    }
    yield* this.#follow(want, output, signal, (opened) => startedMessage(opened), pieceMessage)
  }

  /** Answers DownloadPersistentCacheTask: keeps a replica of a written file. */
  async *replicate(
    request: DownloadPersistentCacheTaskRequest,
    signal: AbortSignal,
  ): AsyncGenerator<ReplicaMessage, void, undefined> {
    const output = await this.#output('DownloadPersistentCacheTask', request)
    const { spec } = checked(() => downloadSettings({ task: request.taskId }))
    const want: Want = {
      spec,
      lookup: true,
      range: undefined,
      backToSource: 'never',
      needBackToSource: false,
      place: { is: 'store' },
      persistent: request.persistent,
    }
    yield* this.#follow(
      want,
      output,
      signal,
      ({ task }) => ({
        response: {
          case: 'downloadPersistentCacheTaskStartedResponse' as const,
          value: { contentLength: BigInt(task.geometry.contentLength) },
        },
      }),
      pieceMessage,
    )
  }

  /** Where the caller may have it written. */
  async #output(method: string, wish: OutputWish): Promise<PermittedOutput | undefined> {
    try {
      return await permitOutput(this.#world.settings.tls, method, wish)
    } catch (error) {
      throw triggerError(error)
    }
  }

  /** Before the answer ends: who ordered a copy counts what the scheduler knows by then. */
  async #keep({ task, persistent }: Opened): Promise<void> {
    // The caller may have named a download: that is this host's own, and not pinned from outside.
    if (task.record.kind !== 'persistentCache') return
    await task.update({ persistent: true })
    // It was here before, or came for somebody else.
    if (persistent !== true) await this.#world.announcements.announce(task)
  }

  async *#follow<M extends TaskMessage | ReplicaMessage>(
    want: Want,
    output: PermittedOutput | undefined,
    signal: AbortSignal,
    started: (opened: Opened) => M,
    finished: (piece: ReturnType<typeof pieceOf>) => object,
  ): AsyncGenerator<M, void, undefined> {
    if (this.#signals.closing.aborted) {
      throw new ConnectError('The peer is closing', Code.Unavailable)
    }
    if (this.#running >= triggersMax) {
      throw new ConnectError('Too many ordered downloads', Code.ResourceExhausted)
    }
    this.#running++
    // Not tied to the call: a scheduler that restarts must not stop its seeds.
    const scope = new Scope([this.#signals.lifetime])
    const ids = { hostId: this.#world.host.id, peerId: this.#world.newPeerId() }
    const found = this.#tasks.find(want.spec.id)?.task
    const before = found !== undefined && holds(found, want.range) ? found : undefined
    let opened: Opened | undefined
    let release = (): void => undefined
    let sound = Promise.resolve()
    try {
      opened = await this.#tasks.open(want, scope.signal)
      const { task, share } = opened
      release = task.hold()
      // Nothing registers for what lay here already: whoever ordered it would take that for a failure. A real daemon announces what it has whole, too.
      const held = task === before && want.spec.kind === 'standard'
      const known = held ? this.#world.announcements.announce(task, want.range) : undefined
      // Waited for below, unless the caller is gone.
      known?.catch(() => undefined)
      sound = this.#verify(opened, scope.signal)
      // Waited for below, and when the caller is gone, in `#letGo`.
      sound.catch(() => undefined)
      const numbers = Array.from({ length: task.geometry.pieceCount }, (_, number) => number)
      const taskId = opened.spec.id
      yield { ...ids, taskId, ...started(opened) }
      for await (const piece of told(opened, numbers, this.#tasks.ending(taskId), signal)) {
        yield { ...ids, taskId, ...finished(piece) } as M
      }
      await Promise.all([share?.done, sound, known])
      if (want.persistent === true) await this.#keep(opened)
      if (output !== undefined) await task.output(output.path, { ...output, signal: scope.signal })
    } catch (error) {
      throw triggerError(error)
    } finally {
      release()
      this.#letGo(opened, sound, scope)
    }
  }

  /** Whoever ordered it may know its digest: what does not have it must not spread from here. What lay here before is not read again for that. */
  async #verify(opened: Opened, signal: AbortSignal): Promise<void> {
    const { spec, share } = opened
    if (share === undefined || spec.digest === undefined) return
    try {
      await checkDigest(opened, spec.digest, signal)
    } catch (error) {
      throw await forgetRotten(this.#tasks, opened, error, signal)
    }
  }

  /** The share is left when the download has ended, not when the caller has. */
  #letGo(opened: Opened | undefined, sound: Promise<void>, scope: Scope): void {
    const end = (): void => {
      opened?.share?.leave(undefined)
      scope[Symbol.dispose]()
      this.#running--
    }
    if (opened?.share === undefined) end()
    else void Promise.allSettled([opened.share.done, sound]).then(end)
  }
}

async function* told(
  { task }: Opened,
  numbers: readonly number[],
  ending: Promise<void> | undefined,
  signal: AbortSignal,
): AsyncGenerator<ReturnType<typeof pieceOf>, void, undefined> {
  for await (const { number } of pieceNews(task, numbers, ending, signal)) {
    yield pieceOf(task, number)
  }
}

function pieceOf(task: Opened['task'], number: number): MessageInitShape<typeof PieceSchema> {
  const { offset, length } = pieceAt(task.geometry, number)
  return {
    number,
    offset: BigInt(offset),
    length: BigInt(length),
    digest: task.digestOf(number) ?? '',
    trafficType: TrafficType.BACK_TO_SOURCE,
    cost: durationFromMs(0),
    createdAt: timestampFromMs(task.usedAt),
  }
}

function startedMessage({ task }: Opened): TaskMessage {
  return {
    response: {
      case: 'downloadTaskStartedResponse',
      value: {
        contentLength: BigInt(task.geometry.contentLength),
        responseHeader: { ...task.record.headers },
        isFinished: task.complete,
      },
    },
  }
}

function pieceMessage(piece: ReturnType<typeof pieceOf>): object {
  return { response: { case: 'downloadPieceFinishedResponse', value: { piece } } }
}

/** What was asked for, checked like the options of a local caller. */
function wantOf(download: Download): Want {
  const target = checked(() => new URL(download.url))
  if (target.protocol === 'file:') {
    throw triggerError(
      new PeerError('NOT_PERMITTED', 'Files of this machine are not fetched for others', {
        method: 'DownloadTask',
        reason: 'file URL',
      }),
    )
  }
  const { tag, application, pieceLength, filteredQueryParams, requestHeader, range } = download
  // Of a part nothing can be told.
  const digest = range === undefined ? download.digest || undefined : undefined
  const settings = checked(() =>
    downloadSettings(download.url, {
      ...(tag === undefined ? {} : { tag }),
      ...(application === undefined ? {} : { application }),
      ...(digest === undefined ? {} : { digest }),
      ...(pieceLength === undefined || pieceLength === 0n
        ? {}
        : { pieceLength: Number(pieceLength) }),
      filteredQueryParams,
      headers: requestHeader,
      priority: download.priority,
      ...(range === undefined
        ? {}
        : { range: { start: Number(range.start), length: Number(range.length) } }),
    }),
  )
  return {
    spec: settings.spec,
    lookup: false,
    range: settings.range,
    // A Go scheduler sends the order with the asker's words in it, and the asker was to stay away from the origin, not its seed.
    backToSource: download.disableBackToSource && !download.needBackToSource ? 'never' : 'allow',
    needBackToSource: download.needBackToSource,
    place: { is: 'store' },
  }
}

/** What a local caller would get as an exception is the caller's fault here. */
function checked<T>(parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw new ConnectError(
      error instanceof Error ? error.message : 'Invalid download',
      Code.InvalidArgument,
    )
  }
}

/** A failure as the caller sees it: the origin's answer where there is one, and never a path or a credential of this process. */
export function triggerError(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error
  if (PeerError.is(error, 'NOT_PERMITTED')) {
    return new ConnectError(error.message, Code.PermissionDenied)
  }
  if (PeerError.is(error, 'TASK_NOT_FOUND')) return new ConnectError(error.message, Code.NotFound)
  if (PeerError.is(error, 'ORIGIN_NOT_FOUND', 'ORIGIN_FORBIDDEN', 'ORIGIN_UNAVAILABLE')) {
    const { status } = error.details as { readonly status?: number }
    return backendError({
      message: error.message,
      header: {},
      ...(status === undefined ? {} : { statusCode: status }),
    })
  }
  return new ConnectError(PeerError.is(error) ? error.message : 'Download failed', Code.Internal)
}
