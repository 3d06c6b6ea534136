import { connect, type Socket } from 'node:net'
import type { PieceRequest, Received, Slot } from '../../task/ports.ts'
import type { Clock } from '../../util/clock.ts'
import { type Deferred, deferred } from '../../util/deferred.ts'
import { moveBytesMin } from '../../util/flow-move.ts'
import { protocolBroken, refused, unreachable } from '../parent-errors.ts'
import { AnswerDecoder, type ContentHead, difference, encodeRequest } from '../vortex.ts'
import { descriptorOf } from '../../util/descriptor.ts'
import { Filling } from './filling.ts'
import type { TcpSettings } from './options.ts'

/**
 * A connection to a parent: pieces come over it, one at a time, straight into their slots.
 *
 * Node reads into memory that we name: `onread.buffer` is asked once when the socket is made and then after every `onread.callback`, at once, not before the
 * next read. So the place of the next bytes must be known when the callback returns. `#target` is that place:
 *
 *     idle, asking    the missing bytes of the next head, never more: what comes while idle is a surplus, and a head never swallows content
 *     filling         what `Filling` names: the slot's space, never more than is missing of the piece
 *     waiting         what `Filling` names aside, while reading is stopped (the callback returned false) until the slot has space
 *     moving          the next head, while reading is stopped: the slot reads the socket itself, from the first byte behind the head to the last of the piece
 *
 * After the last byte of a piece the target is the head again, so the kernel can never write into a slot that was given back. When a read is given up
 * the handle is closed in the same turn, before the promise rejects, for the same reason.
 */
export class ParentConnection {
  readonly #socket: Socket
  readonly #settings: TcpSettings
  readonly #clock: Clock
  readonly #answer = new AnswerDecoder()
  #target: Uint8Array = this.#answer.space()
  #state: State
  #answered = false
  #pieces = 0
  #doneAt = 0
  #settled: Promise<void> = Promise.resolve()
  #onClosed: (byParent: boolean) => void = () => undefined

  /** Starts to connect. `parent` is for the error when that fails. */
  constructor(
    to: { readonly ip: string; readonly port: number },
    parent: string,
    settings: TcpSettings,
    clock: Clock,
  ) {
    this.#settings = settings
    this.#clock = clock
    this.#state = { is: 'connecting', parent, opened: deferred() }
    this.#socket = connect({
      host: to.ip,
      port: to.port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: keepAliveDelayMs,
      onread: {
        buffer: () => this.#target,
        callback: (count) => this.#onBytes(count),
      },
    })
    this.#socket.on('connect', () => this.#onConnect())
    this.#socket.on('end', () => this.#onLost('The parent closed the connection'))
    this.#socket.on('error', (error) => this.#onLost(reasonOf(error), error))
    this.#socket.on('close', () => this.#onLost('The connection is closed'))
  }

  /** Whether the next piece can be asked for. */
  get idle(): boolean {
    return this.#state.is === 'idle'
  }

  /** Whether a byte of the answer to the last request has come. */
  get answered(): boolean {
    return this.#answered
  }

  /** Pieces and refusals that came over it. */
  get pieces(): number {
    return this.#pieces
  }

  /** When the last one was complete, on the clock. */
  get doneAt(): number {
    return this.#doneAt
  }

  /** Resolves one turn of the event loop after the last answer: what stood behind it in the kernel, surplus bytes or an end, has been seen then. */
  get settled(): Promise<void> {
    return this.#settled
  }

  /** Calls when the connection is over; `byParent`: the parent closed it while it owed no byte. */
  set onClosed(call: (byParent: boolean) => void) {
    this.#onClosed = call
  }

  /** connecting → idle. @throws PeerError PARENT_UNREACHABLE */
  async open(signal: AbortSignal): Promise<void> {
    const state = this.#state
    if (state.is !== 'connecting') throw new TypeError('The connection was opened already')
    const { connectTimeoutMs } = this.#settings
    const stopTimer = this.#clock.after(connectTimeoutMs, () =>
      this.#onLost(`No connection within ${connectTimeoutMs} ms`),
    )
    const onAbort = (): void => this.#close(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      if (signal.aborted) onAbort()
      await state.opened.promise
    } finally {
      stopTimer()
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** idle → asking → filling → idle. Keeps the process alive meanwhile. @throws PeerError PARENT_UNREACHABLE, PARENT_PROTOCOL, PARENT_REFUSED; what the slot throws */
  async read(
    parent: string,
    request: PieceRequest,
    slot: Slot,
    signal: AbortSignal,
  ): Promise<Received> {
    if (this.#state.is !== 'idle') throw new TypeError(`The connection is ${this.#state.is}`)
    signal.throwIfAborted()
    const transfer: Transfer = {
      parent,
      request,
      slot,
      filling: new Filling(slot, request.piece.length),
      done: deferred(),
      movedAt: 0,
      stopTimer: undefined,
    }
    this.#state = { is: 'asking', transfer }
    this.#answered = false
    const onAbort = (): void => this.#close(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    this.#socket.ref()
    this.#socket.write(
      encodeRequest({
        kind: request.kind,
        taskId: request.taskId,
        number: request.piece.number,
      }),
    )
    try {
      return await transfer.done.promise
    } finally {
      transfer.stopTimer?.()
      signal.removeEventListener('abort', onAbort)
      this.#socket.unref()
    }
  }

  /** any → closed. A read that runs rejects with the reason. */
  destroy(reason: unknown): void {
    this.#close(reason)
  }

  #onConnect(): void {
    const state = this.#state
    if (state.is !== 'connecting') return
    this.#state = { is: 'idle' }
    this.#socket.unref()
    state.opened.resolve()
  }

  #onLost(reason: string, cause?: unknown): void {
    const state = this.#state
    switch (state.is) {
      case 'connecting':
        this.#close(unreachable(state.parent, reason, cause))
        return
      case 'asking':
        this.#close(
          unreachable(state.transfer.parent, `${reason}, without an answer`, cause),
          !this.#answered,
        )
        return
      case 'filling':
      case 'moving':
      case 'waiting': {
        const { parent, slot, request } = state.transfer
        const how = `${reason} after ${slot.filled} of ${request.piece.length} bytes`
        this.#close(unreachable(parent, how, cause))
        return
      }
      case 'idle':
      case 'closed':
        this.#close(undefined, true)
    }
  }

  /** The one way out. The handle is closed before anybody hears of it. A reset, not an end: a parent that waits or sends notices it at once. */
  #close(reason: unknown, byParent = false): void {
    const state = this.#state
    if (state.is === 'closed') return
    this.#state = { is: 'closed' }
    this.#target = new Uint8Array(1)
    if (state.is === 'moving') state.stop.abort(reason)
    if (state.is === 'connecting' || state.is === 'idle' || this.#socket.writableEnded) {
      this.#socket.destroy()
    } else {
      // A reset takes some turns. Until then nothing may be read any more: the place that was named last is given to somebody else now.
      this.#socket.pause()
      this.#socket.resetAndDestroy()
    }
    if (state.is === 'connecting') state.opened.reject(reason)
    else if (state.is !== 'idle') state.transfer.done.reject(reason)
    this.#onClosed(byParent)
  }

  /** Bytes have come into `#target`. False stops reading. An exception here would end the process: each one ends the connection. */
  #onBytes(count: number): boolean {
    const state = this.#state
    try {
      switch (state.is) {
        case 'asking':
          this.#noteProgress(state.transfer)
          return this.#onHeadBytes(state.transfer, count)
        case 'filling':
          state.transfer.movedAt = this.#clock.now()
          return this.#advance(state.transfer, count)
        case 'idle':
          // More than the piece that was asked for: this connection has lost step.
          this.#close(undefined)
          break
        case 'waiting':
        case 'moving':
        case 'connecting':
        case 'closed':
      }
    } catch (error) {
      this.#close(error)
    }
    return false
  }

  #onHeadBytes(transfer: Transfer, count: number): boolean {
    const answer = this.#answer.fill(count)
    this.#target = this.#answer.space()
    if (answer === undefined) return true
    if (answer.is === 'content') return this.#onHead(transfer, answer.head)
    if (answer.is === 'wrong') {
      this.#close(protocolBroken(transfer.parent, answer))
      return false
    }
    this.#finish()
    transfer.done.reject(refused(transfer.parent, answer.reason))
    return true
  }

  #onHead(transfer: Transfer, head: ContentHead): boolean {
    const differs = difference(head, transfer.request)
    if (differs !== undefined) {
      this.#close(protocolBroken(transfer.parent, differs))
      return false
    }
    transfer.digest = head.digest
    return this.#move(transfer) ? false : this.#advance(transfer, 0)
  }

  /** asking → moving, if the slot can read the socket and it is worth it. */
  #move(transfer: Transfer): boolean {
    const { slot, request } = transfer
    const socket = descriptorOf(this.#socket)
    if (slot.fillFrom === undefined || socket === undefined || !this.#settings.native) return false
    if (request.piece.length < moveBytesMin) return false
    const state = { is: 'moving', transfer, stop: new AbortController() } as const
    this.#state = state
    // Read next, when all of the piece has come.
    this.#answer.reset()
    this.#target = this.#answer.space()
    void this.#moveOn(state, slot.fillFrom, socket)
    return true
  }

  /** moving → idle, filling, waiting. */
  async #moveOn(
    state: State & { readonly is: 'moving' },
    fillFrom: NonNullable<Slot['fillFrom']>,
    socket: number,
  ): Promise<void> {
    const { transfer, stop } = state
    const { slot, request } = transfer
    try {
      for (let count = -1; count !== 0 && slot.filled < request.piece.length; ) {
        count = await fillFrom(socket, stop.signal)
        if (this.#state !== state) return
        if (count > 0) transfer.movedAt = this.#clock.now()
      }
      if (slot.filled === request.piece.length) {
        this.#advance(transfer, 0)
      } else {
        // What is missing comes the other way, and so does the reason why it does not come.
        transfer.filling.standBy(this.#target)
        this.#state = { is: 'filling', transfer }
      }
      this.#socket.resume()
    } catch (error) {
      if (this.#state === state) this.#close(error)
    }
  }

  /** asking, filling, waiting → filling, waiting or idle. False: reading must stand still. */
  #advance(transfer: Transfer, count: number): boolean {
    const { filling, slot } = transfer
    const mayRead = filling.advance(count)
    if (filling.complete) {
      this.#finish()
      transfer.done.resolve({ digest: transfer.digest ?? '' })
      return true
    }
    if (filling.target.length > 0) {
      this.#target = filling.target
    } else {
      // Every byte has come, but not all have a place yet: what comes next is a head.
      this.#answer.reset()
      this.#target = this.#answer.space()
    }
    if (mayRead) {
      this.#state = { is: 'filling', transfer }
      return true
    }
    const state = { is: 'waiting', transfer } as const
    this.#state = state
    slot.drained().then(
      () => this.#onDrained(state),
      (error: unknown) => {
        if (this.#state === state) this.#close(error)
      },
    )
    return false
  }

  #onDrained(waiting: State & { readonly is: 'waiting' }): void {
    if (this.#state !== waiting) return
    waiting.transfer.movedAt = this.#clock.now()
    try {
      if (this.#advance(waiting.transfer, 0)) this.#socket.resume()
    } catch (error) {
      this.#close(error)
    }
  }

  /** asking, filling → idle. */
  #finish(): void {
    this.#state = { is: 'idle' }
    this.#answer.reset()
    this.#target = this.#answer.space()
    this.#pieces++
    this.#doneAt = this.#clock.now()
    this.#settled = new Promise((resolve) => setImmediate(resolve))
  }

  #noteProgress(transfer: Transfer): void {
    transfer.movedAt = this.#clock.now()
    if (this.#answered) return
    this.#answered = true
    this.#watchStall(transfer, this.#settings.stallTimeoutMs)
  }

  /** One timer for a whole piece: it looks when the last byte came. A wait for the slot, or for its disk, is not the parent's fault. */
  #watchStall(transfer: Transfer, delayMs: number): void {
    const { stallTimeoutMs } = this.#settings
    transfer.stopTimer = this.#clock.after(delayMs, () => {
      if (this.#state.is === 'waiting') transfer.movedAt = this.#clock.now()
      const idleMs = this.#clock.now() - transfer.movedAt
      const leftMs = stallTimeoutMs - Math.min(idleMs, transfer.slot.silentMs ?? idleMs)
      if (leftMs > 0) this.#watchStall(transfer, leftMs)
      else this.#onLost(`No byte within ${stallTimeoutMs} ms`)
    })
  }
}

/** A dead host is noticed by probes after this time of silence. */
const keepAliveDelayMs = 5000

type State =
  | { readonly is: 'connecting'; readonly parent: string; readonly opened: Deferred<void> }
  | { readonly is: 'idle' }
  | { readonly is: 'asking'; readonly transfer: Transfer }
  | { readonly is: 'filling'; readonly transfer: Transfer }
  | { readonly is: 'waiting'; readonly transfer: Transfer }
  | { readonly is: 'moving'; readonly transfer: Transfer; readonly stop: AbortController }
  | { readonly is: 'closed' }

interface Transfer {
  readonly parent: string
  readonly request: PieceRequest
  readonly slot: Slot
  readonly filling: Filling
  readonly done: Deferred<Received>
  movedAt: number
  stopTimer: (() => void) | undefined
  digest?: string
}

function reasonOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message
}
