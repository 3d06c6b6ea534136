import { randomInt } from 'node:crypto'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { EmptySchema } from '@bufbuild/protobuf/wkt'
import { Code } from '@connectrpc/connect'
import {
  type Host,
  type PeerSchema,
  type TaskSchema,
} from '../../src/rpc/gen/common/v2/common_pb.ts'
import {
  AnnounceHostRequestSchema,
  type AnnouncePeerRequest,
  AnnouncePeerRequestSchema,
  AnnouncePeerResponseSchema,
  DeleteTaskRequestSchema,
  StatTaskRequestSchema,
} from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import type { Ending } from '../support/cleanup.ts'
import { type RawGrpc, type RawGrpcCall, rawGrpc } from './raw-grpc.ts'

/** One request of a child on its stream. */
export type Request = AnnouncePeerRequest['request']
/** Name of a request, as on the wire. */
export type Case = NonNullable<Request['case']>
type Response = NonNullable<MessageInitShape<typeof AnnouncePeerResponseSchema>['response']>
/** A candidate parent. */
export type Candidate = MessageInitShape<typeof PeerSchema>

/** One AnnouncePeer stream. */
export class Announced {
  readonly scheduler: GoScheduler
  readonly call: RawGrpcCall
  readonly heard: Case[] = []
  readonly requests: Request[] = []
  hostId = ''
  taskId = ''
  peerId = ''

  constructor(scheduler: GoScheduler, call: RawGrpcCall) {
    this.scheduler = scheduler
    this.call = call
  }

  /** Sends one answer. */
  answer(response: Response): void {
    this.call.send(AnnouncePeerResponseSchema, { response })
  }

  /** Names parents. */
  parents(...candidateParents: readonly Candidate[]): void {
    this.answer({
      case: 'normalTaskResponse',
      value: { candidateParents: [...candidateParents] },
    })
  }

  /** Orders to go to the origin. */
  source(): void {
    this.answer({ case: 'needBackToSourceResponse', value: {} })
  }

  /** How often this was said. */
  count(name: Case): number {
    return this.heard.filter((each) => each === name).length
  }
}

const endings: ReadonlySet<Case> = new Set<Case>([
  'downloadPeerFinishedRequest',
  'downloadPeerFailedRequest',
  'downloadPeerBackToSourceFinishedRequest',
  'downloadPeerBackToSourceFailedRequest',
])

/**
 * A scheduler that speaks as the Go one does (controlplane 1): no headers before the first message, NotFound for a host that was not announced, and at the end of
 * a stream trailers followed by a reset. What it answers is up to the test.
 */
export class GoScheduler {
  readonly hosts: Host[] = []
  readonly known: Set<string> = new Set()
  readonly streams: Announced[] = []
  readonly deleted: string[] = []
  /** Answers one request of a stream; the default says nothing. True: the rest of the stream is the test's own affair. */
  on: (stream: Announced, request: Request) => boolean | void = () => undefined
  /** Answers the other calls, before the default does. True: done. */
  onCall: (call: RawGrpcCall) => boolean = () => false
  #server: RawGrpc | undefined
  /** Of its own: the port of one that died on 127.0.0.1 is soon that of another test's server, which answers in its place. */
  readonly #ip = `127.${randomInt(1, 255)}.${randomInt(0, 256)}.${randomInt(1, 255)}`
  readonly #t: Ending

  private constructor(t: Ending) {
    this.#t = t
  }

  /** Starts one. */
  static async start(t: Ending, on?: GoScheduler['on']): Promise<GoScheduler> {
    const scheduler = new GoScheduler(t)
    if (on !== undefined) scheduler.on = on
    await scheduler.rise()
    return scheduler
  }

  /** Where it listens. */
  get address(): string {
    return this.#running.address
  }

  /** Paths of all calls since the last `rise`. */
  get paths(): readonly string[] {
    return this.#running.paths
  }

  /** The last stream. */
  get stream(): Announced {
    const stream = this.streams.at(-1)
    if (stream === undefined) throw new Error('Nothing was announced')
    return stream
  }

  /** The process ends: all connections break, and it knows nothing any more. */
  die(): void {
    this.#running.die()
    this.known.clear()
  }

  /** It runs, again, at the same address. */
  async rise(): Promise<void> {
    const port = this.#server?.port ?? 0
    this.#server = await rawGrpc(this.#t, (call) => this.#serve(call), { ip: this.#ip, port })
  }

  get #running(): RawGrpc {
    if (this.#server === undefined) throw new Error('It was never started')
    return this.#server
  }

  async #serve(call: RawGrpcCall): Promise<void> {
    if (this.onCall(call)) return
    switch (call.method) {
      case 'AnnounceHost': {
        const { host } = await call.message(AnnounceHostRequestSchema)
        if (host !== undefined) this.hosts.push(host)
        this.known.add(host?.id ?? '')
        return call.reply(EmptySchema, {})
      }
      case 'AnnouncePeer':
        return this.#announce(call)
      case 'DeleteTask':
        this.deleted.push((await call.message(DeleteTaskRequestSchema)).taskId)
        return call.reply(EmptySchema, {})
      case 'DeleteHost':
        return call.reply(EmptySchema, {})
      case 'StatTask': {
        const { taskId } = await call.message(StatTaskRequestSchema)
        return call.end(Code.NotFound, `task ${taskId} not found`)
      }
      default:
        return call.end(Code.FailedPrecondition, 'redis is not enabled')
    }
  }

  async #announce(call: RawGrpcCall): Promise<void> {
    const stream = new Announced(this, call)
    this.streams.push(stream)
    for await (const message of call.messages(AnnouncePeerRequestSchema)) {
      const { request, hostId } = message
      stream.hostId = hostId
      stream.taskId = message.taskId
      stream.peerId = message.peerId
      stream.requests.push(request)
      if (request.case !== undefined) stream.heard.push(request.case)
      if (!this.known.has(hostId)) {
        return call.end(Code.NotFound, `peer ${message.peerId} not found`)
      }
      if (this.on(stream, request) === true) continue
      if (request.case !== undefined && endings.has(request.case)) return call.end()
    }
    call.end()
  }
}

/** A task as a scheduler shows it with a candidate. */
export function taskOf(length: number | bigint): MessageInitShape<typeof TaskSchema> {
  return { id: 'task', url: 'http://origin.test/a', contentLength: BigInt(length) }
}
