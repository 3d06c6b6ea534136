import { deferred } from '../../../src/util/deferred.ts'
import type {
  NativeContext,
  NativeDevice,
  NativeDomain,
  NativeQueuePair,
  NativeRdma,
  NativeRegistration,
  NativeRemote,
  NativeStats,
} from '../../../src/transport/rdma/native.ts'
import {
  as,
  type Context,
  type Domain,
  flushed,
  nativeError,
  of,
  type Posted,
  type QueuePair,
  type Registration,
} from './fake-objects.ts'

/** IPv4 address of the only device, mapped. */
const gid = Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1])

/**
 * The addon as the transport sees it, without a device and without C: memory is copied, one READ per turn of the event loop. It is strict where a card is:
 * keys, domains, ranges, states, the order of completions. All contexts of one instance are on one network.
 */
export class FakeNative implements NativeRdma {
  readonly version = 1
  readonly sources = ''
  /** Counts every buffer as one of `allocate()`. */
  readonly #anyMemory: boolean
  readonly #allocated = new WeakSet<ArrayBufferLike>()
  readonly #contexts = new Set<Context>()
  readonly #queuePairs = new Map<number, QueuePair>()
  readonly #addresses = new WeakMap<ArrayBuffer, bigint>()
  readonly #counts = {
    registrations: 0,
    readsPosted: 0,
    readsDone: 0,
    readsFailed: 0,
    bytesRead: 0,
  }
  #nextAddress = 0x7f00_0000_0000n
  #nextNumber = 0x11
  #nextKey = 0x1000
  /** READs stay on their way. */
  stalled = false
  /** Statuses with which the next READs end. */
  readonly statuses: number[] = []
  /** Errno with which registrations fail. */
  registerErrno: number | undefined
  /** Error of `load()`. */
  loadError: Error | undefined
  /** Called before each READ is done. */
  beforeRead: () => void = () => undefined
  /** Paths that were loaded. */
  readonly loaded: string[] = []
  list: NativeDevice[] = [
    {
      name: 'fake0',
      ports: [
        {
          port: 1,
          state: 4,
          activeMtu: 4096,
          lid: 0,
          linkLayer: 2,
          gids: [{ index: 0, gid, type: 2 }],
        },
      ],
    },
  ]

  constructor(options: { readonly anyMemory?: boolean } = {}) {
    this.#anyMemory = options.anyMemory ?? false
  }

  load(path: string): void {
    if (this.loadError !== undefined) throw this.loadError
    this.loaded.push(path)
  }

  devices(): Promise<readonly NativeDevice[]> {
    return Promise.resolve(this.list)
  }

  async open(options: Parameters<NativeRdma['open']>[0]): Promise<NativeContext> {
    const port = this.list.find(({ name }) => name === options.device)?.ports[0]
    if (port === undefined) throw nativeError('ERR_RDMA_NO_DEVICE', 'No such device')
    const context: Context = { onEvent: options.onEvent, domains: new Set(), open: true }
    this.#contexts.add(context)
    return as<NativeContext>(
      Object.assign(context, {
        lid: port.lid,
        gid,
        mtu: port.activeMtu,
        readsOutMax: 16,
        readsInMax: 16,
        readsPostedMax: 1024,
        readBytesMax: 2 ** 30,
      }),
    )
  }

  async allocate(byteLength: number): Promise<ArrayBuffer> {
    const buffer = new ArrayBuffer(byteLength)
    this.#allocated.add(buffer)
    return buffer
  }

  isAllocated(buffer: ArrayBufferLike): boolean {
    return this.#anyMemory || this.#allocated.has(buffer)
  }

  share(): number {
    throw new RangeError('There is no other thread')
  }

  view(): ArrayBuffer {
    throw new RangeError('There is no other thread')
  }

  async domain(context: NativeContext): Promise<NativeDomain> {
    const owner = of<Context>(context)
    const domain: Domain = { context: owner, registrations: new Set(), queuePairs: new Set() }
    owner.domains.add(domain)
    return as<NativeDomain>(domain)
  }

  async freeDomain(domain: NativeDomain): Promise<void> {
    of<Domain>(domain).context.domains.delete(of<Domain>(domain))
  }

  async register(
    domain: NativeDomain,
    buffer: ArrayBuffer,
    byteOffset: number,
    byteLength: number,
    access: 'local' | 'remoteRead',
  ): Promise<NativeRegistration> {
    if (!this.isAllocated(buffer)) throw new TypeError('Not allocated')
    if (byteLength < 1 || byteOffset + byteLength > buffer.byteLength) throw new RangeError('Range')
    if (this.registerErrno !== undefined) {
      const errno = this.registerErrno
      throw nativeError('ERR_RDMA_REGISTER', 'Cannot register', { errno })
    }
    const owner = of<Domain>(domain)
    if (!owner.context.open) throw nativeError('ERR_RDMA_CLOSED', 'Closed')
    const base = this.#addressOf(buffer)
    const registration: Registration = {
      domain: owner,
      buffer,
      byteOffset,
      byteLength,
      access,
      address: base + BigInt(byteOffset),
      remoteKey: this.#nextKey++,
    }
    owner.registrations.add(registration)
    this.#counts.registrations++
    return as<NativeRegistration>(registration)
  }

  async deregister(registration: NativeRegistration): Promise<void> {
    const gone = of<Registration>(registration)
    for (const queuePair of gone.domain.queuePairs) {
      if (queuePair.posted.some(({ into }) => into.registration === gone)) {
        throw nativeError('ERR_RDMA_BUSY', 'Reads are on their way')
      }
    }
    gone.domain.registrations.delete(gone)
  }

  async queuePair(
    domain: NativeDomain,
    options: { readonly readsMax: number; readonly remoteRead: boolean },
  ): Promise<NativeQueuePair> {
    const owner = of<Domain>(domain)
    if (!owner.context.open) throw nativeError('ERR_RDMA_CLOSED', 'Closed')
    const queuePair: QueuePair = {
      domain: owner,
      number: this.#nextNumber++,
      ...options,
      posted: [],
      state: 'init',
      remote: undefined,
      pumping: false,
    }
    owner.queuePairs.add(queuePair)
    this.#queuePairs.set(queuePair.number, queuePair)
    return as<NativeQueuePair>(queuePair)
  }

  async connect(queuePair: NativeQueuePair, remote: NativeRemote): Promise<void> {
    const own = of<QueuePair>(queuePair)
    if (own.state !== 'init') throw nativeError('ERR_RDMA_CONNECT', 'Not in state INIT')
    if (remote.gid.length !== 16) throw new TypeError('gid')
    own.remote = remote
    own.state = 'ready'
  }

  read(
    queuePair: NativeQueuePair,
    into: {
      readonly registration: NativeRegistration
      readonly offset: number
      readonly byteLength: number
    },
    from: { readonly address: bigint; readonly key: number },
  ): Promise<void> {
    const own = of<QueuePair>(queuePair)
    const registration = of<Registration>(into.registration)
    if (into.offset < 0 || into.offset + into.byteLength > registration.byteLength) {
      return Promise.reject(new RangeError('Outside of the registration'))
    }
    if (own.posted.length >= own.readsMax) {
      return Promise.reject(nativeError('ERR_RDMA_BUSY', 'Too many reads'))
    }
    if (own.state !== 'ready') return Promise.reject(flushed())
    this.#counts.readsPosted++
    const { promise, resolve, reject } = deferred<void>()
    own.posted.push({
      into: { registration, offset: into.offset, byteLength: into.byteLength },
      from,
      resolve: () => resolve(),
      reject,
    })
    this.#pump(own)
    return promise
  }

  async abort(queuePair: NativeQueuePair): Promise<void> {
    this.#fail(of<QueuePair>(queuePair), flushed())
  }

  async freeQueuePair(queuePair: NativeQueuePair): Promise<void> {
    const own = of<QueuePair>(queuePair)
    if (own.posted.length > 0) throw nativeError('ERR_RDMA_BUSY', 'Reads are on their way')
    own.state = 'freed'
    own.domain.queuePairs.delete(own)
    this.#queuePairs.delete(own.number)
  }

  async close(context: NativeContext): Promise<void> {
    const gone = of<Context>(context)
    gone.open = false
    for (const domain of gone.domains) {
      for (const queuePair of domain.queuePairs) {
        this.#fail(queuePair, flushed())
        this.#queuePairs.delete(queuePair.number)
      }
      domain.queuePairs.clear()
      domain.registrations.clear()
    }
    gone.domains.clear()
    this.#contexts.delete(gone)
  }

  stats(): NativeStats {
    const domains = [...this.#contexts].flatMap((context) => [...context.domains])
    return {
      ...this.#counts,
      live: {
        contexts: this.#contexts.size,
        domains: domains.length,
        registrations: domains.reduce((sum, { registrations }) => sum + registrations.size, 0),
        queuePairs: this.#queuePairs.size,
        regions: 0,
        regionBytes: 0,
      },
    }
  }

  /** READs that were posted and have not ended. */
  get onTheirWay(): number {
    return [...this.#queuePairs.values()].reduce((sum, { posted }) => sum + posted.length, 0)
  }

  /** Tells all open contexts of an event. */
  emit(type: number, queuePair = 0): void {
    for (const context of this.#contexts) context.onEvent({ type, queuePair })
  }

  /** Breaks all queue pairs that others read through, as when their process dies. */
  killParents(): void {
    for (const queuePair of this.#queuePairs.values()) {
      if (queuePair.remoteRead) this.#fail(queuePair, flushed())
    }
  }

  /** READs go on. */
  resume(): void {
    this.stalled = false
    for (const queuePair of this.#queuePairs.values()) this.#pump(queuePair)
  }

  #pump(queuePair: QueuePair): void {
    if (queuePair.pumping || this.stalled || queuePair.posted.length === 0) return
    queuePair.pumping = true
    setImmediate(() => {
      queuePair.pumping = false
      if (this.stalled || queuePair.state !== 'ready') return
      this.beforeRead()
      const first = queuePair.posted[0]
      if (first === undefined) return
      const status = this.statuses.shift() ?? this.#transfer(queuePair, first)
      queuePair.posted.shift()
      if (status === 0) {
        this.#counts.readsDone++
        first.resolve()
        this.#pump(queuePair)
        return
      }
      this.#counts.readsFailed++
      first.reject(nativeError('ERR_RDMA_TRANSFER', 'The read failed', { status }))
      this.#fail(queuePair, flushed())
    })
  }

  #transfer(queuePair: QueuePair, { into, from }: Posted): number {
    const remote = this.#queuePairs.get(queuePair.remote?.num ?? -1)
    const reached =
      remote?.state === 'ready' &&
      remote.remote?.num === queuePair.number &&
      remote.remote.mtu === queuePair.remote?.mtu
    if (remote === undefined || !reached) return 12
    const source = [...remote.domain.registrations].find(({ remoteKey }) => remoteKey === from.key)
    const start = Number(from.address - (source?.address ?? 0n))
    const allowed =
      remote.remoteRead &&
      source?.access === 'remoteRead' &&
      start >= 0 &&
      start + into.byteLength <= source.byteLength
    if (source === undefined || !allowed) {
      this.#fail(remote, flushed())
      return 10
    }
    const bytes = new Uint8Array(source.buffer, source.byteOffset + start, into.byteLength)
    const { buffer, byteOffset } = into.registration
    new Uint8Array(buffer, byteOffset + into.offset, into.byteLength).set(bytes)
    this.#counts.bytesRead += into.byteLength
    return 0
  }

  #fail(queuePair: QueuePair, error: Error): void {
    if (queuePair.state !== 'freed') queuePair.state = 'error'
    for (const posted of queuePair.posted.splice(0)) {
      this.#counts.readsFailed++
      posted.reject(error)
    }
  }

  #addressOf(buffer: ArrayBuffer): bigint {
    const known = this.#addresses.get(buffer)
    if (known !== undefined) return known
    const address = this.#nextAddress
    this.#nextAddress += BigInt(buffer.byteLength) + 0x1000_0000n
    this.#addresses.set(buffer, address)
    return address
  }
}
