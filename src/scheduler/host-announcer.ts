import { type HostFigures, hostMessage } from '../rpc/convert-host.ts'
import { wireTime } from '../rpc/convert.ts'
import type { Clock } from '../util/clock.ts'
import { schedulerFailure } from './failure.ts'
import type { SchedulerNode } from './nodes.ts'

/** Pause before the second try after a failed announcement; it doubles from try to try, up to the interval. In milliseconds. */
export const announceRetryMs = 1_000

/** What announcing needs. */
export interface AnnouncerWorld {
  readonly clock: Clock
  readonly host: () => HostFigures
  readonly intervalMs: number
  readonly callTimeoutMs: number
  /** Fires when the client closes. */
  readonly signal: AbortSignal
  /** This scheduler may have forgotten the host: it said so, or did not hear of it for too long. */
  readonly onForgotten: (node: SchedulerNode) => void
}

/** Makes the host known to every scheduler, again and again, and at once where it turns out to be unknown. */
export class HostAnnouncer {
  readonly #world: AnnouncerWorld
  readonly #rounds = new Map<SchedulerNode, Round>()
  #closed = false

  constructor(world: AnnouncerWorld) {
    this.#world = world
  }

  /** Announces to this scheduler now and from then on. Rejects with what the first call failed with; it goes on all the same. */
  start(node: SchedulerNode): Promise<void> {
    return this.#round(node).beat()
  }

  /** This scheduler does not know the host: tells it at once. Several askers share one call. */
  async announceTo(node: SchedulerNode): Promise<void> {
    const knewUs = node.state.is === 'up'
    await this.start(node)
    // For one that is new it was said already.
    if (knewUs) this.#world.onForgotten(node)
  }

  /** No more to this scheduler. */
  stop(node: SchedulerNode): void {
    this.#rounds.get(node)?.stop()
    this.#rounds.delete(node)
  }

  /** No more at all. */
  close(): void {
    this.#closed = true
    for (const node of this.#rounds.keys()) this.stop(node)
  }

  #round(node: SchedulerNode): Round {
    const known = this.#rounds.get(node)
    if (known !== undefined) return known
    const round = new Round(this.#world, node)
    if (!this.#closed) this.#rounds.set(node, round)
    return round
  }
}

/** The announcements to one scheduler: one call at a time, then a timer. */
class Round {
  readonly #world: AnnouncerWorld
  readonly #node: SchedulerNode
  #running: Promise<void> | undefined
  #release: () => void = () => undefined
  #failures = 0
  #heardAt: number | undefined
  #stopped = false

  constructor(world: AnnouncerWorld, node: SchedulerNode) {
    this.#world = world
    this.#node = node
  }

  beat(): Promise<void> {
    this.#running ??= this.#call().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  stop(): void {
    this.#stopped = true
    this.#release()
  }

  async #call(): Promise<void> {
    this.#release()
    const { clock, host, intervalMs, callTimeoutMs, signal } = this.#world
    const hold = this.#node.hold()
    try {
      const request = { host: hostMessage(host()), interval: wireTime(intervalMs) }
      await this.#node.client.announceHost(request, { signal, timeoutMs: callTimeoutMs })
      this.#node.up()
      this.#noteSilence(clock.now(), intervalMs)
      this.#failures = 0
    } catch (error) {
      this.#failures++
      const failure = schedulerFailure(error)
      if (failure.is === 'gone' && !signal.aborted) this.#node.down(failure.reason)
      throw error
    } finally {
      hold()
      this.#plan()
    }
  }

  /** A scheduler drops a host after two intervals of silence, and with it what the host was known to have. */
  #noteSilence(now: number, intervalMs: number): void {
    const before = this.#heardAt
    this.#heardAt = now
    if (before !== undefined && now - before > 2 * intervalMs) this.#world.onForgotten(this.#node)
  }

  #plan(): void {
    if (this.#stopped) return
    const { clock, intervalMs } = this.#world
    const retryMs = announceRetryMs * 2 ** Math.min(this.#failures - 1, 16)
    const pauseMs = this.#failures === 0 ? intervalMs : Math.min(retryMs, intervalMs)
    this.#release = clock.after(pauseMs, () => {
      // The failure is known to the node, and the next try is planned.
      this.beat().catch(() => undefined)
    })
  }
}
