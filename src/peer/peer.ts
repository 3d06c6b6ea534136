import { constants } from 'node:buffer'
import { PeerError } from '../errors.ts'
import { allowListeners } from '../util/scope.ts'
import { wholeNumber } from '../util/settings.ts'
import { assemble, type Assembly } from './assemble.ts'
import { ClosingGrace } from './closing-grace.ts'
import { Download, type DownloadHost } from './download.ts'
import { downloadSettings, type Target } from './download-settings.ts'
import type {
  DownloadOptions,
  PeerLimitChange,
  PeerLimits,
  PeerOptions,
  SeedOptions,
  TaskInfo,
  Writable,
  WriteOptions,
} from './options.ts'
import { type Seeding, seed } from './seeding.ts'
import { changedLimits, settings } from './settings.ts'
import type { PeerUsage } from './usage.ts'
import { write } from './write.ts'

/** Milliseconds that `close()` lets running uploads go on, and readers stand still. */
export const closeTimeoutMs: number = 5000

type State =
  | { readonly is: 'open' }
  | { readonly is: 'closing'; readonly ended: Promise<void> }
  | { readonly is: 'closed' }

/**
 * One peer of a Dragonfly network inside this process: it downloads, serves what it has while it downloads, and can publish files.
 *
 * @example
 * ```ts
 * import { Peer } from 'dragonfly-peer'
 *
 * await using peer = await Peer.start()
 * await peer.download('https://host/model.safetensors').toFile('/models/model.safetensors')
 * ```
 */
export class Peer implements AsyncDisposable {
  readonly #assembly: Assembly
  readonly #lifetime: AbortController
  readonly #closing: AbortController
  readonly #host: DownloadHost
  readonly #open = new Set<Promise<unknown>>()
  #state: State = { is: 'open' }

  private constructor(assembly: Assembly, lifetime: AbortController, closing: AbortController) {
    this.#assembly = assembly
    this.#lifetime = lifetime
    this.#closing = closing
    this.#host = {
      lifetime: lifetime.signal,
      grace: new ClosingGrace(closing.signal, assembly.world.clock, closeTimeoutMs),
      track: (work) => this.#track(work),
    }
  }

  /**
   * Opens the store, listens, and announces this host. A scheduler that cannot be reached is no reason to fail: the peer works without it and keeps trying.
   *
   * @throws TypeError, RangeError that name the option, before any I/O; PeerError STORE_LOCKED, STORE_VERSION, STORE_FAILED, PERMISSION_DENIED, LISTEN_FAILED
   */
  static async start(options: PeerOptions = {}): Promise<Peer> {
    const parsed = settings(options)
    const lifetime = new AbortController()
    const closing = new AbortController()
    const signals = { lifetime: lifetime.signal, closing: closing.signal }
    allowListeners(closing.signal)
    return new Peer(await assemble(parsed, signals), lifetime, closing)
  }

  /** Id of this host in the network. */
  get hostId(): string {
    return this.#assembly.world.host.id
  }

  /** Where others reach the upload service of this peer, as `host:port`. */
  get address(): string {
    return this.#assembly.address
  }

  /** Address that other peers give as `scheduler` to join the same network. */
  get schedulerAddress(): string {
    return this.#assembly.schedulerAddress
  }

  /**
   * A download. Nothing happens until something is done with it: `toFile()`, `bytes()`, iteration, `stream()`, or waiting for `done`.
   *
   * @param target - a URL of a known scheme, or `{ task }` with the id of a task in the network
   * @throws TypeError, RangeError that name the option; PeerError INVALID_URL, CLOSED
   */
  download(target: Target, options: DownloadOptions = {}): Download {
    this.#refuseClosed()
    const parsed = downloadSettings(target, options)
    const { tasks } = this.#assembly
    return new Download(tasks, parsed, this.#host)
  }

  /** Publishes a file of this disk as the content of a URL, without a copy. See {@link Seeding}. */
  async seed(path: string | URL, options: SeedOptions): Promise<Seeding> {
    this.#refuseClosed()
    return this.#track(seed(this.#assembly.world, path, options, this.#lifetime.signal))
  }

  /** Writes content into the network, which keeps it for a time without any other storage. Others read it with `download({ task: id })`. */
  async write(content: Writable, options: WriteOptions = {}): Promise<TaskInfo> {
    this.#refuseClosed()
    return this.#track(write(this.#assembly.world, content, options, this.#lifetime.signal))
  }

  /**
   * Memory for `options.into` of a download, into which an RDMA transport reads without a copy; without such a transport it is ordinary memory. It is registered with
   * the network card until nobody has it in hand any more, and is not to be transferred to a worker thread: Node.js 20 copies it, later versions refuse.
   *
   * @param byteLength - from 1 up to what one `Uint8Array` holds
   * @throws RangeError for another length; PeerError CLOSED, TOO_LARGE when the machine has no such memory
   */
  async allocate(byteLength: number): Promise<Uint8Array> {
    this.#refuseClosed()
    wholeNumber('byteLength', byteLength, 1, constants.MAX_LENGTH)
    // Why it cannot be had stands in `explain()`.
    const special = await this.#assembly.allocate(byteLength).catch(() => undefined)
    try {
      return new Uint8Array(special ?? new ArrayBuffer(byteLength), 0, byteLength)
    } catch (error) {
      throw new PeerError(
        'TOO_LARGE',
        `There is no memory of ${byteLength} bytes`,
        { length: byteLength, lengthMax: constants.MAX_LENGTH, instead: 'toFile()' },
        { cause: error },
      )
    }
  }

  /**
   * Bytes and tasks that are kept now, and the most bytes that may be, for each store. On disk a download takes its room when it begins, so `bytes` may run
   * ahead of what lies there. Files that were seeded where they lie take none. Costs nothing, also after `close()`.
   *
   * @example
   * ```ts
   * import { Peer } from 'dragonfly-peer'
   *
   * await using peer = await Peer.start()
   * const { bytes, bytesMax, tasks } = peer.usage().disk ?? peer.usage().memory
   * ```
   */
  usage(): PeerUsage {
    return this.#assembly.usage()
  }

  /** The limits of now. */
  get limits(): PeerLimits {
    return this.#assembly.world.limits.now
  }

  /**
   * Changes limits while the peer works. A limit that is left out stays as it is; one that is given as `undefined` takes its default again, which is no limit for a
   * rate. Raising wakes those who wait, at once. Lowering breaks nothing that is under way: a rate holds from the next bytes on, places and memory for what begins
   * next. The time limits hold for downloads that begin after the change.
   *
   * @example
   * ```ts
   * import { Peer } from 'dragonfly-peer'
   *
   * await using peer = await Peer.start()
   * peer.setLimits({ uploadBytesPerSecond: 10_000_000, uploadSlots: 4 }) // by day
   * peer.setLimits({ uploadBytesPerSecond: undefined }) // by night
   * ```
   * @throws TypeError, RangeError that name the limit; then nothing has changed
   */
  setLimits(change: PeerLimitChange): void {
    const { limits } = this.#assembly.world
    limits.set(changedLimits(limits.now, change))
  }

  /**
   * The state as plain data: what is downloading, from whom, what it waits for, what is kept. Holds no credential. Of more than 256 tasks of an embedded scheduler it
   * tells those that are unfinished and the newest, and under `leftOut` how many there are beside them. With 13 000 tasks it takes about 10 ms.
   */
  explain(): Record<string, unknown> {
    return { state: this.#state.is, ...this.#assembly.explain() }
  }

  /**
   * Takes no new work, waits for downloads and writes that run, lets uploads end for a while, tells the scheduler, and frees everything. A reader that asks for
   * nothing for `closeTimeoutMs` meanwhile is given up with CLOSED. A process that closed its peers exits by itself. Safe to call twice.
   */
  async close(): Promise<void> {
    if (this.#state.is === 'open') {
      this.#state = { is: 'closing', ended: this.#shutDown(closeTimeoutMs) }
    }
    if (this.#state.is === 'closing') await this.#state.ended
  }

  /** Stops at once: everything that runs rejects with the reason. Safe to call twice, and during `close()`. */
  async destroy(
    reason: unknown = new PeerError('CLOSED', 'The peer was destroyed', { what: 'peer' }),
  ): Promise<void> {
    if (this.#state.is === 'closed') return
    this.#lifetime.abort(reason)
    this.#assembly.tasks.destroy(reason)
    if (this.#state.is === 'open') this.#state = { is: 'closing', ended: this.#shutDown(0) }
    await this.#state.ended
  }

  /** The same as `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #shutDown(timeoutMs: number): Promise<void> {
    this.#closing.abort(new PeerError('CLOSED', 'The peer is closing', { what: 'peer' }))
    try {
      while (this.#open.size > 0) await Promise.allSettled(this.#open)
      await this.#assembly.tasks.idle()
      await this.#assembly.close(timeoutMs)
      this.#lifetime.abort(new PeerError('CLOSED', 'The peer is closed', { what: 'peer' }))
    } finally {
      this.#state = { is: 'closed' }
    }
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#open.add(work)
    // Whoever asked for the work sees its failure; here it only matters when it ends.
    const end = (): boolean => this.#open.delete(work)
    work.then(end, end)
    return work
  }

  #refuseClosed(): void {
    if (this.#state.is === 'open') return
    throw new PeerError('CLOSED', 'The peer is closed', { what: 'peer' })
  }
}
