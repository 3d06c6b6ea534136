import { constants } from 'node:buffer'
import { setMaxListeners } from 'node:events'
import { PeerError } from '../errors.ts'
import { crc32 } from '../hash/crc32.ts'
import { publish } from '../hooks.ts'
import { type Geometry, geometry, pieceAt } from '../task/piece.ts'
import type { OpenPiece } from '../task/ports.ts'
import { type Clock, systemClock } from '../util/clock.ts'
import { loadFlow, type NativeFlow } from '../util/flow.ts'
import { Collector, type GcOptions, highWater } from './gc.ts'
import type { GcChoice } from './gc-policy.ts'
import { MemorySpool } from './memory-spool.ts'
import { type MemoryHost, MemoryTask } from './memory-task.ts'
import type { KeptPiece } from './piece-table.ts'
import { pieceSums } from './piece-sum.ts'
import { Quota } from './quota.ts'
import type {
  CreateOptions,
  KeptTask,
  PieceWanted,
  Spool,
  Store,
  StoreUsage,
  TaskRecord,
} from './store.ts'
import { Turns } from './turns.ts'

/** How a memory store is made. */
export interface MemoryStoreOptions extends GcOptions {
  /** Most bytes of content that are kept. Memory of tasks that are kept weakly does not count. */
  readonly bytesMax: number
  /** @defaultValue `systemClock` */
  readonly clock?: Clock
  /**
   * Makes memory for content, where that is not to be ordinary memory: a network card reads into it and out of it. Undefined, or a rejection: ordinary memory
   * after all. Not asked for memory that worker threads share, nor for the caller's own.
   */
  readonly allocate?: (byteLength: number) => Promise<ArrayBuffer | undefined>
  /** `false`: without the addon of `native/flow`, also where it loads. @defaultValue `true` */
  readonly native?: boolean
}

/** Keeps tasks in memory, each in one allocation. Nothing outlives the process. */
export class MemoryStore implements Store {
  readonly name = 'memory'
  readonly #tasks = new Map<string, MemoryTask>()
  readonly #turns = new Turns()
  readonly #lifetime = new AbortController()
  readonly #host: MemoryHost
  readonly #quota: Quota
  readonly #collector: Collector
  readonly #collected: FinalizationRegistry<MemoryTask>
  readonly #allocator: MemoryStoreOptions['allocate']
  readonly #flow: NativeFlow | undefined

  constructor(options: MemoryStoreOptions) {
    this.#allocator = options.allocate
    this.#flow = options.native === false ? undefined : loadFlow()
    const clock = options.clock ?? systemClock
    const { signal: lifetime } = this.#lifetime
    // Every running call listens; there is nothing to warn of.
    setMaxListeners(0, lifetime)
    this.#quota = new Quota({
      path: 'memory',
      bytesMax: options.bytesMax,
      highWater: options.highWater ?? highWater,
      collect: () => this.#collector.collect(),
    })
    this.#collector = new Collector(
      {
        clock,
        tasks: () => [...this.#tasks.values()].map((task) => task.garbage(task.bytesTaken)),
        drop: (choice) => this.#collect(choice),
        capacity: () => this.#quota.capacity(),
      },
      options,
    )
    this.#collected = new FinalizationRegistry((task) => this.#lost(task))
    this.#host = {
      clock,
      lifetime,
      quota: this.#quota,
      watch: (task, buffer) => this.#collected.register(buffer, task),
      lost: (task) => this.#lost(task),
      pieceSum: pieceSums(options.native),
    }
    this.#collector.start()
  }

  get(id: string): KeptTask | undefined {
    const task = this.#tasks.get(id)
    return task?.alive === true ? task : undefined
  }

  list(): KeptTask[] {
    return [...this.#tasks.values()].filter((task) => task.alive)
  }

  async create(record: TaskRecord, cut: Geometry, options: CreateOptions = {}): Promise<KeptTask> {
    const lengthMax = Math.min(constants.MAX_LENGTH, this.#quota.bytesMax)
    if (cut.contentLength > lengthMax) throw tooLarge(cut.contentLength, lengthMax)
    if (options.memory !== undefined && options.memory.length !== cut.contentLength) {
      throw new RangeError(
        `The memory has ${options.memory.length} bytes, the content ${cut.contentLength}`,
      )
    }
    return await this.#turns.run(record.id, async () => {
      const there = await this.#there(record, cut)
      return there ?? (await this.#make(record, cut, options))
    })
  }

  spool(): Promise<Spool> {
    if (this.#lifetime.signal.aborted) return Promise.reject(this.#lifetime.signal.reason)
    const { quota, lifetime } = this.#host
    return Promise.resolve(
      new MemorySpool({
        quota,
        lifetime,
        take: (record, content, pieceLength) => this.#takeOver(record, content, pieceLength),
      }),
    )
  }

  adopt(): Promise<KeptTask> {
    return Promise.reject(new TypeError('A memory store cannot adopt a file'))
  }

  async open(wanted: PieceWanted, signal: AbortSignal): Promise<OpenPiece> {
    this.#refuseClosed()
    const { taskId: task } = wanted
    const found = this.#tasks.get(task)
    if (found === undefined || found.record.kind !== wanted.kind) {
      throw new PeerError('TASK_NOT_FOUND', `Task ${task} is not kept`, { task })
    }
    return await found.open(wanted.number, signal, wanted.unchecked)
  }

  async delete(id: string): Promise<boolean> {
    this.#refuseClosed()
    return await this.#turns.run(id, () => Promise.resolve(this.#drop(id, 'deleted')))
  }

  usage(): StoreUsage {
    return { bytes: this.#quota.used, bytesMax: this.#quota.bytesMax, tasks: this.#tasks.size }
  }

  /** Another limit from now on. With a lower one unused tasks are dropped soon, and what is in use stays. */
  setBytesMax(bytesMax: number): void {
    this.#quota.setBytesMax(bytesMax)
    // What cannot be dropped now is tried again when room is wanted.
    this.#collector.collect().catch(() => undefined)
  }

  async close(): Promise<void> {
    if (!this.#lifetime.signal.aborted) {
      this.#lifetime.abort(new PeerError('CLOSED', 'The store is closed', { what: 'store' }))
    }
    await this.#collector.close()
    await this.#turns.settled()
    this.#tasks.clear()
  }

  async #there(record: TaskRecord, cut: Geometry): Promise<MemoryTask | undefined> {
    this.#refuseClosed()
    const task = this.#tasks.get(record.id)
    if (task?.alive !== true) return undefined
    const { contentLength, pieceLength } = task.geometry
    if (contentLength !== cut.contentLength || pieceLength !== cut.pieceLength) {
      throw new RangeError(`Task ${record.id} is kept with another length or piece length`)
    }
    await task.update(record)
    return task
  }

  async #make(record: TaskRecord, cut: Geometry, options: CreateOptions): Promise<MemoryTask> {
    this.#drop(record.id, 'usage')
    await this.#quota.take(cut.contentLength)
    try {
      this.#refuseClosed()
      const shared = options.shared === true
      const bytes = options.memory ?? (await this.#allocate(cut.contentLength, shared))
      this.#refuseClosed()
      const task = new MemoryTask(this.#host, record, cut, bytes, {
        weak: options.weak === true,
        handed: options.memory !== undefined,
      })
      this.#tasks.set(record.id, task)
      return task
    } catch (error) {
      this.#quota.give(cut.contentLength)
      throw error
    }
  }

  async #takeOver(
    record: TaskRecord,
    content: { readonly length: number; readonly blocks: Uint8Array[] },
    pieceLength?: number,
  ): Promise<MemoryTask> {
    const cut = geometry(content.length, pieceLength)
    return await this.#turns.run(record.id, async () => {
      this.#refuseClosed()
      const there = this.#tasks.get(record.id)
      if (there?.alive === true && there.complete) return there
      const bytes = await this.#allocate(content.length, false)
      this.#refuseClosed()
      await joinInto(bytes, content.blocks)
      const pieces = await sumUp(bytes, cut, this.#host.clock.date())
      this.#drop(record.id, 'deleted')
      // The bytes were let in as those of the spool, which gives them back now.
      this.#quota.force(content.length)
      const task = new MemoryTask(this.#host, record, cut, bytes, {
        weak: false,
        handed: false,
      })
      task.fillIn(pieces)
      this.#tasks.set(record.id, task)
      return task
    })
  }

  async #allocate(length: number, shared: boolean): Promise<Uint8Array> {
    if (!shared && length > 0) {
      // Whoever makes it tells why it cannot, and ordinary memory does as well.
      const special = await this.#allocator?.(length).catch(() => undefined)
      if (special !== undefined) return new Uint8Array(special, 0, length)
    }
    const bytes = allocate(length, shared)
    if (length >= largeBytesMin) this.#flow?.largePages(bytes)
    return bytes
  }

  #collect(choice: GcChoice): Promise<void> {
    // Somebody may have come since the policy looked.
    if (this.#tasks.get(choice.id)?.held === false) this.#drop(choice.id, choice.why)
    return Promise.resolve()
  }

  #drop(id: string, why: 'ttl' | 'usage' | 'deleted'): boolean {
    const task = this.#tasks.get(id)
    if (task === undefined) return false
    this.#tasks.delete(id)
    const bytes = task.bytesTaken
    task.forget()
    this.#quota.give(bytes)
    publish('dragonfly-peer:store:dropped', () => ({ task: id, bytes, why }))
    return true
  }

  /** The application let go of memory that is kept weakly. */
  #lost(task: MemoryTask): void {
    if (this.#tasks.get(task.record.id) === task && !task.alive) {
      this.#drop(task.record.id, 'usage')
    }
  }

  #refuseClosed(): void {
    this.#lifetime.signal.throwIfAborted()
  }
}

/** Memory from this length on is asked to have large pages. Shorter memory may lie among other things, which have no use for them. */
const largeBytesMin = 64 * 1024 * 1024

function allocate(length: number, shared: boolean): Uint8Array {
  try {
    return new Uint8Array(shared ? new SharedArrayBuffer(length) : new ArrayBuffer(length))
  } catch (error) {
    // The machine has no room, or a limit of the engine is below `MAX_LENGTH`.
    if (error instanceof RangeError) throw tooLarge(length, constants.MAX_LENGTH, error)
    throw error
  }
}

function tooLarge(length: number, lengthMax: number, cause?: unknown): PeerError<'TOO_LARGE'> {
  return new PeerError(
    'TOO_LARGE',
    `Content of ${length} bytes does not fit into memory, which may take ${lengthMax}`,
    { length, lengthMax, instead: 'a disk store' },
    { cause },
  )
}

/** Puts the blocks one after the other, and gives up each as soon as it is copied. */
async function joinInto(bytes: Uint8Array, blocks: Uint8Array[]): Promise<void> {
  let at = 0
  for (let block = blocks.shift(); block !== undefined; block = blocks.shift()) {
    bytes.set(block.subarray(0, bytes.length - at), at)
    at += block.length
    await nextTurn()
  }
}

async function sumUp(bytes: Uint8Array, cut: Geometry, createdAt: number): Promise<KeptPiece[]> {
  const pieces: KeptPiece[] = []
  for (let number = 0; number < cut.pieceCount; number++) {
    const { offset, length } = pieceAt(cut, number)
    const crc = crc32(bytes.subarray(offset, offset + length))
    pieces.push({ crc, xxh64: 0n, parentId: '', createdAt })
    await nextTurn()
  }
  return pieces
}

/** Long content must not hold up the event loop. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
