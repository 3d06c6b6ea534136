import type { TestContext } from 'node:test'

import type { MessageInitShape } from '@bufbuild/protobuf'
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect'

import { type Channel, localChannel } from '../../src/rpc/channel.ts'
import {
  type AnnouncePeerRequest,
  type AnnouncePeerResponseSchema,
  Scheduler,
} from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { SchedulerClient, type SchedulerClientOptions } from '../../src/scheduler/client.ts'
import { geometry } from '../../src/task/piece.ts'
import type { PieceReport, Registration, TaskSpec } from '../../src/task/ports.ts'

/** An answer of a scripted scheduler. */
export type Answered = MessageInitShape<typeof AnnouncePeerResponseSchema>

/** What a child said on one stream, one name per message. */
export type Heard = AnnouncePeerRequest['request']['case']

/** A scheduler that does what a test says, and writes down what it is told. */
export class Script {
  readonly hosts: string[] = []
  readonly streams: Heard[][] = []
  readonly requests: AnnouncePeerRequest[] = []
  /** Answers `AnnounceHost`. */
  onHost: () => void = () => undefined
  /** Answers one message of a stream; the number of the stream comes with it. Undefined says nothing, `end` ends the stream in order. */
  onRequest: (
    request: AnnouncePeerRequest,
    stream: number,
  ) => readonly Answered[] | 'end' | undefined | Promise<readonly Answered[] | 'end' | undefined> =
    () => undefined
  /** Other methods. */
  more: Partial<ServiceImpl<typeof Scheduler>> = {}
  #ends = 0

  /** Streams that have ended. */
  get ended(): number {
    return this.#ends
  }

  /** A channel to it. */
  open(): Channel {
    return localChannel((router) => {
      router.service(Scheduler, {
        announceHost: ({ host }) => {
          this.hosts.push(host?.id ?? '')
          this.onHost()
          return {}
        },
        announcePeer: (requests) => this.#serve(requests),
        ...this.more,
      })
    })
  }

  async *#serve(requests: AsyncIterable<AnnouncePeerRequest>): AsyncGenerator<Answered> {
    const heard: Heard[] = []
    const number = this.streams.push(heard) - 1
    try {
      for await (const request of requests) {
        heard.push(request.request.case)
        this.requests.push(request)
        const answer = await this.onRequest(request, number)
        if (answer === 'end') return
        yield* answer ?? []
      }
    } finally {
      this.#ends++
    }
  }
}

/** Parents on hosts 10.0.0.1, 10.0.0.2 and so on. */
export function parents(...ids: readonly string[]): Answered {
  const candidateParents = ids.map((id, at) => ({
    id,
    state: 'Running',
    host: { id: `host-${id}`, hostname: id, ip: `10.0.0.${at + 1}`, port: 4000 },
    task: { id: 'task', contentLength: 40n * 1024n * 1024n },
  }))
  return { response: { case: 'normalTaskResponse', value: { candidateParents } } }
}

export const goToSource: Answered = { response: { case: 'needBackToSourceResponse', value: {} } }

export function unknownHost(): never {
  throw new ConnectError('The host is unknown', Code.NotFound)
}

export const spec: TaskSpec = {
  id: `task-${'0'.repeat(59)}`,
  kind: 'standard',
  url: 'http://origin.test/a',
  filteredQueryParams: [],
  headers: {},
  priority: 6,
}

export const registration: Registration = {
  peerId: 'peer',
  spec,
  geometry: geometry(40 * 1024 * 1024),
  needBackToSource: false,
  backToSource: 'allow',
  metadataOnly: false,
  concurrency: 8,
}

/** Options of a client for these scripts; the first has address 10.1.0.1:8002, and so on. */
export function clientOf(...scripts: readonly Script[]): SchedulerClientOptions {
  const addresses = scripts.map((_, at) => `10.1.0.${at + 1}:8002`)
  return {
    addresses,
    open: (address) => {
      const script = scripts[addresses.indexOf(address)]
      if (script === undefined) throw new TypeError(`No script for ${address}`)
      return script.open()
    },
    host: () => ({ id: 'me', hostname: 'me', ip: '10.0.0.9', port: 4000, seed: false }),
  }
}

/** A client for these scripts that is closed at the end of the test. */
export function clientFor(
  t: TestContext,
  scripts: readonly Script[],
  more: Partial<SchedulerClientOptions> = {},
): SchedulerClient {
  const client = new SchedulerClient({ ...clientOf(...scripts), ...more })
  t.after(() => client.close())
  return client
}

/** A finished piece. */
export function report(number: number, traffic: 'source' | 'peer' = 'peer'): PieceReport {
  return {
    piece: { number, offset: number * 4, length: 4 },
    digest: 'crc32:1',
    traffic,
    parentId: traffic === 'peer' ? 'p1' : '',
    costMs: 3,
    createdAt: 1_700_000_000_000,
  }
}
