/**
 * What the addon in `native/` does: RC queue pairs and one-sided READs into memory that it owns. It is C over libibverbs, which is opened at run time.
 *
 * Three rules hold for every function. Arguments are checked: a wrong one throws a `TypeError` and never crashes. Nothing here blocks the main thread: what may
 * wait in the kernel runs on the thread pool and gives a promise. Failures are `Error`s with one of the codes of `NativeErrorCode`, and `errno` or `status` where there is one.
 */
export interface NativeRdma {
  /** Version of this interface. The loader refuses an addon with another one. */
  readonly version: number
  /** Hash of the C sources that this binary was made of, so that a stale one can be told without a compiler. */
  readonly sources: string
  /**
   * Opens the verbs library, once for the process. Calling it again with the same path does nothing.
   *
   * @throws ERR_RDMA_UNAVAILABLE: no such library, a symbol is missing, or another library is open already
   */
  load(path: string): void
  /** What devices there are; none where the kernel has no RDMA. */
  devices(): Promise<readonly NativeDevice[]>
  /**
   * Opens a port of a device. `onEvent` hears of what happens to it (`ibv_get_async_event`). The context keeps the process alive only while reads are on their way.
   *
   * @throws ERR_RDMA_NO_DEVICE, ERR_RDMA_OPEN
   */
  open(options: {
    readonly device: string
    readonly port: number
    readonly gidIndex: number
    readonly onEvent: (event: NativeEvent) => void
  }): Promise<NativeContext>
  /**
   * Memory to register: aligned to 2 MiB, in huge pages where there are any, every page faulted in before it is given out (on the thread pool). It is freed when no view, no
   * registration and no read needs it any more, whatever the order in which they go.
   *
   * @throws ERR_RDMA_MEMORY
   */
  allocate(byteLength: number): Promise<ArrayBuffer>
  /** Whether this memory comes from `allocate()`, of any thread of this process. */
  isAllocated(buffer: ArrayBufferLike): boolean
  /** A number by which another thread of this process gets at the same memory, with `view()`. It is good while this buffer, or anything else, keeps the memory. */
  share(buffer: ArrayBuffer): number
  /** A further view of shared memory. @throws RangeError when the memory is gone */
  view(token: number): ArrayBuffer
  /** A protection domain: keys of one are worth nothing in another. Freed with its context, or by `freeDomain` when nothing is left in it. */
  domain(context: NativeContext): Promise<NativeDomain>
  /** @throws ERR_RDMA_BUSY while registrations or queue pairs are left in it */
  freeDomain(domain: NativeDomain): Promise<void>
  /**
   * Registers a part of allocated memory. `local`: reads may write into it, nobody else may touch it. `remoteRead`: others may read it, nobody writes to it.
   *
   * @throws TypeError for memory that `allocate()` did not give, RangeError outside of it, ERR_RDMA_REGISTER (errno ENOMEM: memlock is too small)
   */
  register(
    domain: NativeDomain,
    buffer: ArrayBuffer,
    byteOffset: number,
    byteLength: number,
    access: 'local' | 'remoteRead',
  ): Promise<NativeRegistration>
  /** Nobody can reach the memory by these keys any more when it resolves. @throws ERR_RDMA_BUSY while reads into it are on their way */
  deregister(registration: NativeRegistration): Promise<void>
  /** A queue pair in state INIT, that others may read through when `remoteRead` is set. Its number goes to the other side. */
  queuePair(
    domain: NativeDomain,
    options: { readonly readsMax: number; readonly remoteRead: boolean },
  ): Promise<NativeQueuePair>
  /** To RTR and RTS, with packet numbers from 0 (the convention of `{num, lid, gid}`). @throws ERR_RDMA_CONNECT */
  connect(queuePair: NativeQueuePair, remote: NativeRemote): Promise<void>
  /**
   * Posts one READ and resolves when the bytes are in the memory. The order in which reads resolve is that in which they were posted.
   *
   * @throws RangeError outside of the registration; rejects with ERR_RDMA_TRANSFER and `status` (10 remote access, 12 retries exceeded, …), with ERR_RDMA_FLUSHED (`status` 5) when an earlier one failed
   * or after `abort`, with ERR_RDMA_BUSY when `readsMax` are on their way. Once it has rejected, nothing writes to the memory any more.
   */
  read(
    queuePair: NativeQueuePair,
    into: {
      readonly registration: NativeRegistration
      readonly offset: number
      readonly byteLength: number
    },
    from: { readonly address: bigint; readonly key: number },
  ): Promise<void>
  /** To state ERR: all reads on their way reject. They are settled when the promise resolves. */
  abort(queuePair: NativeQueuePair): Promise<void>
  /** @throws ERR_RDMA_BUSY while reads are on their way */
  freeQueuePair(queuePair: NativeQueuePair): Promise<void>
  /** Aborts and frees everything in it. Calling it again does nothing. */
  close(context: NativeContext): Promise<void>
  /** Counters of this process since it began, and what is alive now. */
  stats(): NativeStats
}

/** Codes of the addon's errors. */
export type NativeErrorCode =
  | 'ERR_RDMA_UNAVAILABLE'
  | 'ERR_RDMA_NO_DEVICE'
  | 'ERR_RDMA_OPEN'
  | 'ERR_RDMA_MEMORY'
  | 'ERR_RDMA_REGISTER'
  | 'ERR_RDMA_QUEUE_PAIR'
  | 'ERR_RDMA_CONNECT'
  | 'ERR_RDMA_TRANSFER'
  | 'ERR_RDMA_FLUSHED'
  | 'ERR_RDMA_BUSY'
  | 'ERR_RDMA_CLOSED'

/** A device, as the kernel names it. */
export interface NativeDevice {
  readonly name: string
  readonly ports: readonly NativePort[]
}

/** A port of a device. */
export interface NativePort {
  readonly port: number
  /** 4 is ACTIVE (`ibv_port_state`). */
  readonly state: number
  /** Bytes. */
  readonly activeMtu: number
  readonly lid: number
  /** 1 InfiniBand, 2 Ethernet. */
  readonly linkLayer: number
  readonly gids: readonly NativeGid[]
}

/** An address of a port. */
export interface NativeGid {
  readonly index: number
  /** 16 bytes. */
  readonly gid: Uint8Array
  /** 0 InfiniBand, 1 RoCE v1, 2 RoCE v2. */
  readonly type: number
}

/** What happened to a context (`ibv_event_type`). */
export interface NativeEvent {
  /** Number of `ibv_event_type`: 8 device fatal, 9 port active, 10 port error, 1 queue pair fatal, … */
  readonly type: number
  /** Number of the queue pair that it is about, else 0. */
  readonly queuePair: number
}

declare const handle: unique symbol

/** An open port of a device. */
export interface NativeContext {
  readonly [handle]: 'context'
  readonly lid: number
  /** 16 bytes. */
  readonly gid: Uint8Array
  /** Bytes of the active MTU. */
  readonly mtu: number
  /** Most READs on their way that a queue pair of the device may begin, at most 16. */
  readonly readsOutMax: number
  /** The same, for being read from. */
  readonly readsInMax: number
  /** The largest `readsMax` of a queue pair: READs posted, of which `readsOut` are really on their way. At most 1024. */
  readonly readsPostedMax: number
  /** The longest READ of this port in bytes (8 MiB on Soft-RoCE). */
  readonly readBytesMax: number
}

/** A protection domain. */
export interface NativeDomain {
  readonly [handle]: 'domain'
}

/** Registered memory. */
export interface NativeRegistration {
  readonly [handle]: 'registration'
  /** Where the other side finds its first byte. */
  readonly address: bigint
  /** The key that the other side shows. */
  readonly remoteKey: number
  readonly byteLength: number
}

/** One end of a reliable connection. */
export interface NativeQueuePair {
  readonly [handle]: 'queuePair'
  readonly number: number
}

/** The other end. */
export interface NativeRemote {
  readonly num: number
  readonly lid: number
  /** 16 bytes; zeros for InfiniBand within a subnet. */
  readonly gid: Uint8Array
  /** Bytes: 256, 512, 1024, 2048 or 4096. */
  readonly mtu: number
  /** READs that this end may have on its way. */
  readonly readsOut: number
  /** READs that this end answers at a time. */
  readonly readsIn: number
  /** `ibv_qp_attr.timeout`: 4.096 µs × 2^n before an unanswered packet is sent again. */
  readonly timeout: number
  /** 0 to 6: how often it is sent again. 7 would mean for ever. */
  readonly retries: number
}

/** Counters since the process began, and how many of each are alive. */
export interface NativeStats {
  /** `ibv_reg_mr` calls that succeeded. */
  readonly registrations: number
  readonly readsPosted: number
  readonly readsDone: number
  readonly readsFailed: number
  readonly bytesRead: number
  readonly live: {
    readonly contexts: number
    readonly domains: number
    readonly registrations: number
    readonly queuePairs: number
    readonly regions: number
    readonly regionBytes: number
  }
}
