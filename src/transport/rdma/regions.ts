import { PeerError } from '../../errors.ts'
import type { Clock } from '../../util/clock.ts'
import { blockBytesMax, registrationsMax } from './limits.ts'
import type { NativeDomain, NativeRdma, NativeRegistration } from './native.ts'
import { isMemlock } from './native-failure.ts'

/** A part of memory, in bytes from the beginning of its buffer. */
export interface Span {
  readonly start: number
  readonly length: number
}

/** Registered memory that is in use, and so stays registered. */
export interface Hold {
  readonly registration: NativeRegistration
  /** Where the wanted part begins in the registration. */
  readonly offset: number
  /** Lets go. `now`: the memory is not to stay registered for the next one. Safe to call twice. */
  end(now?: boolean): void
}

/** What registering needs. */
export interface RegionsHost {
  readonly native: NativeRdma
  readonly domain: NativeDomain
  readonly access: 'local' | 'remoteRead'
  readonly clock: Clock
  /** How long memory that nobody uses stays registered, in milliseconds. */
  readonly lingerMs: number
  /** Parts up to this length are found whole in one block. */
  readonly partBytesMax: number
}

interface Block {
  readonly start: number
  readonly length: number
  readonly forget: () => void
  readonly registration: Promise<NativeRegistration>
  users: number
  pinned: boolean
  stopTimer: () => void
}

/**
 * Which memory is registered in one protection domain: each buffer once, in blocks that overlap, so that every part lies whole in one of them. Blocks are
 * registered when they are first needed, and stay so for a while for the next user, so nothing is registered for a piece.
 */
export class Regions {
  readonly #host: RegionsHost
  readonly #partBytesMax: number
  readonly #buffers = new WeakMap<ArrayBuffer, Map<string, Block>>()
  readonly #blocks = new Set<Block>()
  /** Memory that nobody has in hand any more is given up at once: its registrations are all that keeps it. */
  readonly #collected = new FinalizationRegistry<Map<string, Block>>((blocks) => {
    for (const block of [...blocks.values()]) this.#unpin(block)
  })

  constructor(host: RegionsHost) {
    this.#host = host
    this.#partBytesMax = host.partBytesMax
  }

  /** Registrations alive. */
  get count(): number {
    return this.#blocks.size
  }

  /**
   * Holds a part of a buffer; `span` is what may be registered around it.
   *
   * @throws PeerError LIMIT_REACHED; the error of the addon
   */
  async hold(buffer: ArrayBuffer, span: Span, part: Span): Promise<Hold> {
    const block = this.#block(buffer, span, part)
    block.users++
    block.stopTimer()
    try {
      const registration = await block.registration
      let held = true
      const end = (now = false): void => {
        if (!held) return
        held = false
        this.#letGo(block, now)
      }
      return { registration, offset: part.start - block.start, end }
    } catch (error) {
      block.users--
      throw error
    }
  }

  /** Registers a whole buffer, for as long as somebody has it in hand. */
  async pin(buffer: ArrayBuffer): Promise<void> {
    const span = { start: 0, length: buffer.byteLength }
    for (let at = 0; at < span.length; ) {
      const block = this.#block(buffer, span, { start: at, length: 1 })
      block.pinned = true
      block.stopTimer()
      await block.registration
      at = block.start + block.length
    }
  }

  #block(buffer: ArrayBuffer, span: Span, part: Span): Block {
    const { start, length } = this.#place(span, part)
    let blocks = this.#buffers.get(buffer)
    if (blocks === undefined) {
      blocks = new Map()
      this.#buffers.set(buffer, blocks)
      this.#collected.register(buffer, blocks)
    }
    const key = `${start} ${length}`
    const known = blocks.get(key)
    if (known !== undefined) return known
    if (this.#blocks.size >= registrationsMax) void this.#evict()
    if (this.#blocks.size >= registrationsMax) {
      throw new PeerError('LIMIT_REACHED', 'Too much memory is registered', {
        limit: 'registrationsMax',
        value: registrationsMax,
      })
    }
    const all = blocks
    const block: Block = {
      start,
      length,
      forget: () => {
        if (all.get(key) === block) all.delete(key)
        this.#blocks.delete(block)
      },
      registration: this.#register(buffer, start, length),
      users: 0,
      pinned: false,
      stopTimer: () => undefined,
    }
    blocks.set(key, block)
    this.#blocks.add(block)
    // Whoever holds it is told; it is tried anew by the next one.
    block.registration.catch(block.forget)
    return block
  }

  #place(span: Span, part: Span): Span {
    const stride = blockBytesMax - this.#partBytesMax
    const last = Math.max(0, Math.ceil((span.length - blockBytesMax) / stride))
    const at = Math.min(Math.floor((part.start - span.start) / stride), last)
    const start = span.start + at * stride
    const length = Math.min(blockBytesMax, span.start + span.length - start)
    if (at < 0 || part.length > this.#partBytesMax || part.start + part.length > start + length) {
      throw new RangeError(`Bytes ${part.start} to ${part.start + part.length} are in no block`)
    }
    return { start, length }
  }

  async #register(buffer: ArrayBuffer, start: number, length: number): Promise<NativeRegistration> {
    const { native, domain, access } = this.#host
    try {
      return await native.register(domain, buffer, start, length, access)
    } catch (error) {
      if (!isMemlock(error) || !(await this.#evict())) throw error
      return await native.register(domain, buffer, start, length, access)
    }
  }

  #letGo(block: Block, now: boolean): void {
    block.users--
    if (block.users > 0 || block.pinned) return
    block.stopTimer()
    if (now) void this.#drop(block)
    else block.stopTimer = this.#host.clock.after(this.#host.lingerMs, () => void this.#drop(block))
  }

  #unpin(block: Block): void {
    block.pinned = false
    if (block.users === 0) void this.#drop(block)
  }

  /** Drops what nobody uses; whether there was any. */
  async #evict(): Promise<boolean> {
    const idle = [...this.#blocks].filter(({ users, pinned }) => users === 0 && !pinned)
    await Promise.all(idle.map((block) => this.#drop(block)))
    return idle.length > 0
  }

  async #drop(block: Block): Promise<void> {
    block.stopTimer()
    block.forget()
    try {
      await this.#host.native.deregister(await block.registration)
    } catch {
      // It never was one, or the device is closed, which ends all registrations.
    }
  }
}
