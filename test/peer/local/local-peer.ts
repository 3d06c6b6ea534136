import type { TestContext } from 'node:test'
import { join } from 'node:path'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { type Client, ConnectError, createClient } from '@connectrpc/connect'
import type { PeerOptions } from '../../../src/peer/options.ts'
import type { Peer } from '../../../src/peer/peer.ts'
import { openChannel } from '../../../src/rpc/channel.ts'
import type { DownloadSchema, Piece } from '../../../src/rpc/gen/common/v2/common_pb.ts'
import {
  DfdaemonDownload,
  type DownloadPersistentCacheTaskRequestSchema,
  type DownloadTaskStartedResponse,
} from '../../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { cleanup } from '../../support/cleanup.ts'
import { tempFolder } from '../../support/temp-folder.ts'
import { startPeer } from '../start-peer.ts'

/** A peer with a socket, and a client on it. */
export interface LocalPeer {
  readonly peer: Peer
  readonly folder: string
  readonly socketPath: string
  readonly client: Client<typeof DfdaemonDownload>
}

/** Starts a peer that listens on a unix socket in a folder of the test. */
export async function localPeer(t: TestContext, options: PeerOptions = {}): Promise<LocalPeer> {
  const folder = tempFolder(t)
  const socketPath = join(folder, 'p.sock')
  const peer = await startPeer(t, { socketPath, ...options })
  return { peer, folder, socketPath, client: clientOf(t, socketPath) }
}

/** A gRPC client on a socket. */
export function clientOf(t: TestContext, socketPath: string): Client<typeof DfdaemonDownload> {
  const channel = openChannel({ address: `unix:${socketPath}` })
  cleanup(t, () => channel.close())
  return createClient(DfdaemonDownload, channel)
}

/** What a stream of a download said. */
export interface Told {
  started: DownloadTaskStartedResponse | undefined
  /** Of an export. */
  contentLength: bigint | undefined
  readonly pieces: Piece[]
  readonly peerIds: Set<string>
  /** Undefined: it ended well. */
  error: ConnectError | undefined
}

/** What is wanted of DownloadTask, as `dfget` sends it where nothing else is said. */
export type DownloadWish = MessageInitShape<typeof DownloadSchema>

/** Calls DownloadTask and collects the answer. */
export async function download(
  { client }: Pick<LocalPeer, 'client'>,
  wish: DownloadWish,
  onTold: (told: Told) => void = () => undefined,
  signal?: AbortSignal,
): Promise<Told> {
  const told = nothing()
  const options = signal === undefined ? {} : { signal }
  try {
    for await (const { peerId, response } of client.downloadTask({ download: wish }, options)) {
      told.peerIds.add(peerId)
      if (response.case === 'downloadTaskStartedResponse') told.started = response.value
      else if (response.value?.piece !== undefined) told.pieces.push(response.value.piece)
      onTold(told)
    }
  } catch (error) {
    told.error = ConnectError.from(error)
  }
  return told
}

/** Calls DownloadPersistentCacheTask and collects the answer. */
export async function exported(
  { client }: Pick<LocalPeer, 'client'>,
  wish: MessageInitShape<typeof DownloadPersistentCacheTaskRequestSchema>,
): Promise<Told> {
  const told = nothing()
  try {
    for await (const { peerId, response } of client.downloadPersistentCacheTask(wish)) {
      told.peerIds.add(peerId)
      if (response.case === 'downloadPersistentCacheTaskStartedResponse') {
        told.contentLength = response.value.contentLength
      } else if (response.value?.piece !== undefined) told.pieces.push(response.value.piece)
    }
  } catch (error) {
    told.error = ConnectError.from(error)
  }
  return told
}

/** The numbers that were told, in the order of telling. */
export function numbersOf({ pieces }: Told): number[] {
  return pieces.map(({ number }) => number)
}

/** The bytes of all pieces, each at its offset. */
export function bytesOf({ pieces }: Told): Uint8Array {
  const ordered = pieces.toSorted((one, other) => one.number - other.number)
  return Buffer.concat(ordered.map(({ content }) => content ?? new Uint8Array()))
}

function nothing(): Told {
  return {
    started: undefined,
    contentLength: undefined,
    pieces: [],
    peerIds: new Set(),
    error: undefined,
  }
}
