import { PeerError } from '../../../src/errors.ts'
import type { Geometry } from '../../../src/task/piece.ts'
import { abortable, Scope } from '../../../src/util/scope.ts'
import { Slots } from '../../../src/util/slots.ts'
import { SimDisk, type SimTask } from './disk.ts'
import { type Opened, Process } from './process.ts'
import type { Manners, PeerPlan } from './scenario.ts'
import type { Inhabitant, World } from './world.ts'

/** A peer without faults. */
export const wellMannered: Manners = Object.freeze({ reads: 'well', feed: 'well' })

const cancelled = new Error('The application gave up')

/** One machine with its disk, its processes one after the other, and an application that asks until it has the content. */
export class SimPeer implements Inhabitant {
  readonly plan: PeerPlan
  readonly address: { readonly ip: string; readonly port: number }
  readonly disk: SimDisk
  readonly slots: Slots
  manners: Manners = wellMannered
  readonly #world: World
  #process: Process | undefined
  #ids = 0
  #done = false
  #gone = false
  #asking: Scope | undefined

  constructor(world: World, plan: PeerPlan, at: number) {
    this.#world = world
    this.plan = plan
    this.address = { ip: `10.0.${at >> 8}.${at & 255}`, port: 4000 }
    this.slots = new Slots(plan.uploads)
    this.disk = new SimDisk(plan, world.clock, {
      onKept: (task, piece, bytes) => world.judge.onKept(this, task, piece, bytes),
    })
  }

  get uplink(): number {
    return this.plan.uplink
  }

  get task(): SimTask | undefined {
    return this.#process?.task
  }

  get ending(): Promise<void> | undefined {
    return this.#process?.ending
  }

  get cut(): Geometry {
    return this.#world.cut
  }

  get process(): Process | undefined {
    return this.#process
  }

  /** The application has what it asked for. */
  get done(): boolean {
    return this.#done
  }

  /** A child asks for pieces. */
  meet(peerId: string): void {
    this.#process?.meet(peerId)
  }

  /** It never comes back. */
  get gone(): boolean {
    return this.#gone
  }

  newId(): string {
    return `${this.plan.name}-${this.#ids++}`
  }

  /** The machine is switched on, and its process starts. */
  start(): void {
    const { network } = this.#world
    network.node(this.plan.name).start()
    const process = new Process(this.#world, this)
    this.#process = process
    void this.#ask(process)
  }

  /** The process dies. */
  kill(gone: boolean): void {
    this.#gone ||= gone
    this.#done = false
    const process = this.#process
    this.#process = undefined
    this.#world.network.node(this.plan.name).stop()
    process?.kill(new PeerError('CLOSED', 'The process died', { what: 'process' }))
  }

  /** The process ends in order. */
  async leave(): Promise<void> {
    this.#gone = true
    const process = this.#process
    if (process === undefined) return
    this.#asking?.abort(cancelled)
    await process.leave()
    if (this.#process === process) this.kill(true)
  }

  /** The application gives up, and asks again later. */
  cancel(): void {
    this.#asking?.abort(cancelled)
  }

  async #ask(process: Process): Promise<void> {
    const { clock, judge } = this.#world
    const { retryMs, range, startMs } = this.plan
    try {
      const waitMs = startMs - clock.now()
      if (waitMs > 0) await clock.sleep(waitMs, process.life)
      while (!this.#done && !this.#gone) {
        const from = clock.now()
        const scope = new Scope([process.life])
        this.#asking = scope
        let opened: Opened | undefined
        try {
          const { backToSource } = this.plan
          const want = { range, backToSource, needBackToSource: false }
          opened = await process.open(want, scope.signal)
          if (opened.share !== undefined) await abortable(opened.share.done, scope.signal)
          judge.onDelivered(this, opened.task)
          this.#done = true
        } catch (error) {
          if (process.life.aborted) return
          if (!scope.signal.aborted) {
            const since = Math.min(from, opened?.since ?? from)
            judge.onFailed(this, opened?.task, error, since)
          }
        } finally {
          opened?.share?.leave(cancelled)
          scope[Symbol.dispose]()
        }
        if (!this.#done) await clock.sleep(retryMs, process.life)
      }
    } catch (error) {
      if (!process.life.aborted) judge.broken(`${this.plan.name}: ${String(error)}`)
    }
  }
}
