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

  /** This scheduler may have lost its memory: it is told at once of the host, if it was told before, and then counts as one that has forgotten it. */
  doubt(node: SchedulerNode): void {
    this.#rounds.get(node)?.doubt()
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
  #doubted = false
  #forgottenAt = Number.NEGATIVE_INFINITY

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

  /** A connection that breaks again and again is no reason to announce everything more than once in an interval. */
  doubt(): void {
    if (this.#stopped) return
    this.#doubted = true
    if (this.#world.clock.now() - this.#forgottenAt < this.#world.intervalMs) return
    // The failure is known to the node, and the next try is planned.
    this.beat().catch(() => undefined)
  }

  stop(): void {
    this.#stopped = true
    this.#release()
  }

  async #call(): Promise<void> {
    this.#release()
    const { clock, host, intervalMs, callTimeoutMs, signal } = this.#world
    const hold = this.#node.hold()
    const wasUp = this.#node.state.is === 'up'
    const doubted = this.#doubted
    this.#doubted = false
    try {
      const request = { host: hostMessage(host()), interval: wireTime(intervalMs) }
      await this.#node.call(
        (client, options) => client.announceHost(request, options),
        signal,
        callTimeoutMs,
      )
      this.#node.up()
      this.#noteAnswer(clock.now(), doubted && wasUp)
      this.#failures = 0
    } catch (error) {
      this.#doubted ||= doubted
      this.#failures++
      const failure = schedulerFailure(error)
      if (failure.is === 'gone' && !signal.aborted) this.#node.down(failure.reason)
      throw error
    } finally {
      hold()
      this.#plan()
    }
  }

  /** A scheduler drops a host after two intervals of silence, and with it what the host was known to have. One that was down has been noticed already. */
  #noteAnswer(now: number, doubted: boolean): void {
    const silentMs = now - (this.#heardAt ?? now)
    this.#heardAt = now
    if (!doubted && silentMs <= 2 * this.#world.intervalMs) return
    this.#forgottenAt = now
    this.#world.onForgotten(this.#node)
  }

  #plan(): void {
    if (this.#stopped) return
    const { clock, intervalMs } = this.#world
    const retryMs = announceRetryMs * 2 ** Math.min(this.#failures - 1, 16)
    const fromFailure = this.#failures === 0 ? intervalMs : Math.min(retryMs, intervalMs)
    // The doubt came while an announcement was under way: that one says nothing about it.
    const rested = clock.now() - this.#forgottenAt >= intervalMs
    const early = this.#doubted && this.#failures === 0 && rested
    const pauseMs = early ? announceRetryMs : fromFailure
    this.#release = clock.after(pauseMs, () => {
      // The failure is known to the node, and the next try is planned.
      this.beat().catch(() => undefined)
    })
  }
}
