import { randomBytes } from 'node:crypto'

import type { MessageInitShape } from '@bufbuild/protobuf'
import { createClient, type Transport } from '@connectrpc/connect'

import { wireTime } from '../../src/rpc/convert.ts'
import {
  type Download,
  type DownloadSchema,
  type Host,
  type HostSchema,
  type Peer,
  TrafficType,
} from '../../src/rpc/gen/common/v2/common_pb.ts'
import {
  type AnnouncePeerRequestSchema,
  type AnnouncePeerResponse,
  Scheduler,
} from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'

type HostInit = Exclude<MessageInitShape<typeof HostSchema>, Host>
type DownloadInit = Exclude<MessageInitShape<typeof DownloadSchema>, Download>
type Said = NonNullable<MessageInitShape<typeof AnnouncePeerRequestSchema>['request']>

/** What a scheduler answered, or undefined when it ended the stream. */
export type Told = AnnouncePeerResponse['response'] | undefined

export const mib: number = 1024 * 1024

/** An id that no other test has. */
export function freshId(): string {
  return randomBytes(32).toString('hex')
}

/** A host as a real daemon announces it. */
export function daemonHost(id: string, more: HostInit = {}): HostInit {
  return {
    id,
    hostname: id,
    ip: '127.0.0.1',
    port: 14_000,
    downloadPort: 14_000,
    cpu: { logicalCount: 2, physicalCount: 2, percent: 1, processPercent: 1 },
    network: { maxTxBandwidth: 10_000_000_000n },
    build: { gitVersion: '1.5.1', platform: 'linux' },
    ...more,
  }
}

/** The wish for a file of so many pieces of 4 MiB. */
export function wish(pieces = 16, more: DownloadInit = {}): DownloadInit {
  return {
    url: 'http://origin.test/file',
    priority: 6,
    concurrentPieceCount: 8,
    actualContentLength: BigInt(pieces * 4 * mib),
    actualPieceLength: BigInt(4 * mib),
    actualPieceCount: BigInt(pieces),
    ...more,
  }
}

/** One download attempt on one AnnouncePeer stream, in the words of the wire. */
export class Child {
  readonly id: string
  readonly taskId: string
  readonly #said: Said[] = []
  #wake: () => void = () => undefined
  #ended = false
  readonly #end = new AbortController()
  readonly #answers: AsyncIterator<AnnouncePeerResponse>
  #first: Promise<IteratorResult<AnnouncePeerResponse>> | undefined

  constructor(transport: Transport, hostId: string, taskId: string, peerId?: string) {
    this.id = peerId ?? `${hostId}-${freshId().slice(0, 8)}`
    this.taskId = taskId
    const names = { hostId, taskId, peerId: this.id }
    const said = this.#drain()
    const requests = (async function* () {
      for await (const request of said) yield { ...names, request }
    })()
    const answers = createClient(Scheduler, transport).announcePeer(requests, {
      signal: this.#end.signal,
    })
    this.#answers = answers[Symbol.asyncIterator]()
    // The call begins with the first question for an answer. Whoever does not care for it need not see how it ends.
    this.#first = this.#answers.next()
    this.#first.catch(() => undefined)
  }

  register(download: DownloadInit | Download): this {
    return this.say({ case: 'registerPeerRequest', value: { download } })
  }

  started(): this {
    return this.say({ case: 'downloadPeerStartedRequest', value: {} })
  }

  sourceStarted(): this {
    return this.say({ case: 'downloadPeerBackToSourceStartedRequest', value: {} })
  }

  reschedule(candidateParents: readonly Peer[]): this {
    return this.say({
      case: 'reschedulePeerRequest',
      value: { candidateParents: [...candidateParents] },
    })
  }

  piece(number: number, parentId?: string): this {
    const piece = {
      number,
      offset: BigInt(number * 4 * mib),
      length: BigInt(4 * mib),
      digest: 'crc32:1475635037',
      cost: wireTime(5),
      createdAt: wireTime(Date.now()),
      trafficType: parentId === undefined ? TrafficType.BACK_TO_SOURCE : TrafficType.REMOTE_PEER,
      ...(parentId === undefined ? {} : { parentId }),
    }
    return this.say(
      parentId === undefined
        ? { case: 'downloadPieceBackToSourceFinishedRequest', value: { piece } }
        : { case: 'downloadPieceFinishedRequest', value: { piece } },
    )
  }

  pieceFailed(pieceNumber: number, parentId: string): this {
    const value = { pieceNumber, parentId, temporary: true }
    return this.say({ case: 'downloadPieceFailedRequest', value })
  }

  done(): this {
    return this.say({ case: 'downloadPeerFinishedRequest', value: {} })
  }

  sourceDone(): this {
    return this.say({ case: 'downloadPeerBackToSourceFinishedRequest', value: {} })
  }

  failed(): this {
    return this.say({ case: 'downloadPeerFailedRequest', value: {} })
  }

  sourceFailed(): this {
    return this.say({ case: 'downloadPeerBackToSourceFailedRequest', value: {} })
  }

  say(request: Said): this {
    this.#said.push(request)
    this.#wake()
    return this
  }

  /** Says nothing more, but listens on. */
  hangUp(): this {
    this.#ended = true
    this.#wake()
    return this
  }

  /** The connection breaks. */
  vanish(): void {
    this.#end.abort()
  }

  /** The next answer. */
  async next(): Promise<Told> {
    const first = this.#first
    this.#first = undefined
    const { done, value } = await (first ?? this.#answers.next())
    return done === true ? undefined : value.response
  }

  /** The next answer, which must be parents. */
  async parents(): Promise<readonly Peer[]> {
    const told = await this.next()
    if (told?.case !== 'normalTaskResponse') throw new Error(`Got ${told?.case}, wanted parents`)
    return told.value.candidateParents
  }

  async *#drain(): AsyncGenerator<Said> {
    for (;;) {
      const said = this.#said.shift()
      if (said !== undefined) yield said
      else if (this.#ended) return
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
    }
  }
}
