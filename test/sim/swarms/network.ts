import { abortable, Scope } from '../../../src/util/scope.ts'
import { type Deferred, deferred } from '../../../src/util/deferred.ts'
import type { VirtualClock } from '../clock.ts'
import type { Dice } from './dice.ts'
import type { Scenario } from './scenario.ts'

/** The other side does not answer, or answered with a reset. */
export class Unreachable extends Error {}

/** A machine. It lives from `start` to `stop`, and can be started again. */
export class Node {
  readonly name: string
  /** Half of the way to everybody else. */
  readonly latencyMs: number
  #life: AbortController | undefined

  constructor(name: string, latencyMs: number) {
    this.name = name
    this.latencyMs = latencyMs
  }

  /** Fires when the process that runs now dies; fired already when none runs. */
  get life(): AbortSignal {
    return this.#life?.signal ?? AbortSignal.abort(new Unreachable(`${this.name} is down`))
  }

  get up(): boolean {
    return this.#life !== undefined
  }

  start(): void {
    this.#life = new AbortController()
  }

  stop(): void {
    const life = this.#life
    this.#life = undefined
    life?.abort(new Unreachable(`${this.name} died`))
  }
}

interface Parting {
  readonly some: ReadonlySet<string>
  readonly others: ReadonlySet<string> | 'rest'
}

/** Nodes and the ways between them. Nothing is lost for good: what cannot pass now passes later, as with TCP. */
export class Network {
  readonly clock: VirtualClock
  readonly #dice: Dice
  readonly #plan: Scenario['network']
  readonly #nodes = new Map<string, Node>()
  readonly #partings = new Set<Parting>()
  #healed: Deferred<void> = deferred()
  /** Calls and messages under way. */
  underWay = 0

  constructor(clock: VirtualClock, dice: Dice, plan: Scenario['network']) {
    this.clock = clock
    this.#dice = dice
    this.#plan = plan
  }

  /** Adds a machine that does not run yet. */
  add(name: string): Node {
    const [least, most] = this.#plan.latencyMs
    const node = new Node(name, (least + this.#dice.random() * (most - least)) / 2)
    this.#nodes.set(name, node)
    return node
  }

  node(name: string): Node {
    const node = this.#nodes.get(name)
    if (node === undefined) throw new Error(`No node ${name}`)
    return node
  }

  /** Nothing passes between these until the returned function is called. */
  part(some: readonly string[], others: readonly string[] | 'rest'): () => void {
    const parting: Parting = {
      some: new Set(some),
      others: others === 'rest' ? others : new Set(others),
    }
    this.#partings.add(parting)
    return () => {
      this.#partings.delete(parting)
      this.#healed.resolve()
      this.#healed = deferred()
    }
  }

  /** Whether nothing passes between these two now. */
  blocked(from: string, to: string): boolean {
    for (const parting of this.#partings) {
      if (parts(parting, from, to) || parts(parting, to, from)) return true
    }
    return false
  }

  /** Whether a message is damaged on its way. */
  damages(): boolean {
    return this.#plan.damageRate > 0 && this.#dice.chance(this.#plan.damageRate)
  }

  /** How long one message takes. One that is lost is sent again after a while. */
  latencyMs(from: string, to: string): number {
    const ms = this.node(from).latencyMs + this.node(to).latencyMs
    const lost = this.#plan.lossRate > 0 && this.#dice.chance(this.#plan.lossRate)
    return Math.ceil(lost ? ms + this.#dice.whole(200, 1200) : ms)
  }

  /** Resolves when something that is sent now arrives. */
  async arrive(from: string, to: string, signal: AbortSignal): Promise<void> {
    this.underWay++
    try {
      await this.healed(from, to, signal)
      await this.clock.sleep(this.latencyMs(from, to), signal)
      if (!this.blocked(from, to)) return
      await this.healed(from, to, signal)
      await this.clock.sleep(this.#dice.whole(50, 1000), signal)
    } finally {
      this.underWay--
    }
  }

  /** Resolves when messages can pass between these. */
  async healed(from: string, to: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    while (this.blocked(from, to)) await abortable(this.#healed.promise, signal)
  }

  /** A request arrives there. @throws Unreachable when nobody is there, or the way is blocked for `connectMs` */
  async reach(from: string, to: string, connectMs: number, signal: AbortSignal): Promise<void> {
    if (this.blocked(from, to)) {
      const onTimeout = (): Error => new Unreachable(`No connection to ${to} in ${connectMs} ms`)
      using scope = new Scope([signal], { timeoutMs: connectMs, onTimeout, clock: this.clock })
      await this.healed(from, to, scope.signal)
    }
    await this.arrive(from, to, signal)
    if (this.node(to).up) return
    await this.arrive(to, from, signal)
    throw new Unreachable(`${to} is down`)
  }

  /** Ends the scope when the process there dies, as soon as that can be seen from here. */
  follow(self: string, other: string, scope: Scope): () => void {
    const { life } = this.node(other)
    const onDeath = (): void => {
      this.arrive(other, self, scope.signal).then(
        () => scope.abort(life.reason),
        // The scope has ended by itself: there is nothing to tell.
        () => undefined,
      )
    }
    if (life.aborted) onDeath()
    else life.addEventListener('abort', onDeath, { once: true })
    return () => life.removeEventListener('abort', onDeath)
  }
}

function parts({ some, others }: Parting, one: string, other: string): boolean {
  if (!some.has(one)) return false
  return others === 'rest' ? !some.has(other) : others.has(other) && one !== other
}
