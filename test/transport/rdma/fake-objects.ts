import type {
  NativeErrorCode,
  NativeEvent,
  NativeRemote,
} from '../../../src/transport/rdma/native.ts'

/** An open device. */
export interface Context {
  readonly onEvent: (event: NativeEvent) => void
  readonly domains: Set<Domain>
  open: boolean
}

/** A protection domain, with what is in it. */
export interface Domain {
  readonly context: Context
  readonly registrations: Set<Registration>
  readonly queuePairs: Set<QueuePair>
}

/** Registered memory. */
export interface Registration {
  readonly domain: Domain
  readonly buffer: ArrayBuffer
  readonly byteOffset: number
  readonly byteLength: number
  readonly access: 'local' | 'remoteRead'
  readonly address: bigint
  readonly remoteKey: number
}

/** A READ on its way. */
export interface Posted {
  readonly into: {
    readonly registration: Registration
    readonly offset: number
    readonly byteLength: number
  }
  readonly from: { readonly address: bigint; readonly key: number }
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** One end of a connection. */
export interface QueuePair {
  readonly domain: Domain
  readonly number: number
  readonly readsMax: number
  readonly remoteRead: boolean
  readonly posted: Posted[]
  state: 'init' | 'ready' | 'error' | 'freed'
  remote: NativeRemote | undefined
  pumping: boolean
}

/** An error as the addon makes it. */
export function nativeError(
  code: NativeErrorCode,
  message: string,
  more: { readonly errno?: number; readonly status?: number } = {},
): Error {
  return Object.assign(new Error(message), { code }, more)
}

/** Ends READs of a broken queue pair. */
export function flushed(): Error {
  return nativeError('ERR_RDMA_FLUSHED', 'Flushed', { status: 5 })
}

/** Handles are opaque outside of the fake: as one. */
export function as<T>(value: object): T {
  return value as T
}

/** What is behind a handle. */
export function of<T>(handle: object): T {
  return handle as T
}
