import { PeerError } from '../../../src/errors.ts'
import { overlap, pieceAt, type Piece } from '../../../src/task/piece.ts'
import { versionToken } from '../../../src/hash/version.ts'
import { versionOf as tokenOf } from '../../../src/peer/record.ts'
import { isContent, versionOf } from './content.ts'
import type { SimTask } from './disk.ts'
import { originName } from './origin.ts'
import type { Court, Inhabitant, World } from './world.ts'

/** A scheduler has learnt within this time what lies where: two announcements, and what follows them. */
const learntMs = 75_000

/**
 * Looks at everything that is kept, delivered and failed, and writes down what should not be. A failure is right only when neither the origin nor any
 * parent could have given the content all the time.
 */
export class Judge implements Court {
  readonly #world: World
  readonly #faults: string[] = []
  readonly #failures = new Map<string, number>()
  /** Since when a peer has had all of the content of a version. */
  readonly #complete = new Map<Inhabitant, { readonly task: SimTask; readonly since: number }>()
  #digest = 0
  #newest = 0

  constructor(world: World) {
    this.#world = world
  }

  /** What should not be; empty when all is well. */
  get faults(): readonly string[] {
    return this.#faults
  }

  /** Failures that were to be expected, by code. */
  get failures(): ReadonlyMap<string, number> {
    return this.#failures
  }

  /** The same for two swarms that went the same way. */
  get digest(): number {
    return this.#digest
  }

  /** Something is not as it should be. */
  broken(what: string): void {
    this.#world.trace(`BROKEN ${what}`)
    if (this.#faults.length < 20) this.#faults.push(`at ${this.#world.clock.now()} ms: ${what}`)
  }

  /** A task is made. */
  onTask(task: SimTask): void {
    this.#newest = Math.max(this.#newest, this.#pinned(task) ?? 0)
  }

  /** Whether this is the content that everybody should have now: complete, and of the newest version that any peer ever knew. */
  isCurrent(task: SimTask | undefined): boolean {
    return task?.complete === true && (this.#pinned(task) ?? 0) === this.#newest
  }

  /** A piece is kept: its bytes must be those of the task's version. */
  onKept(peer: Inhabitant, task: SimTask, piece: Piece, bytes: Uint8Array): void {
    const { name } = peer.plan
    const from = task.sourceOf(piece.number)
    this.#world.trace(`${name} keeps ${piece.number} from ${from}`)
    this.#mix(`${name} ${piece.number}`)
    this.#check(peer, task, piece, bytes, 'keeps')
    if (task.complete) this.#complete.set(peer, { task, since: this.#world.clock.now() })
  }

  /** The application got what it wanted: the bytes are looked at again. */
  onDelivered(peer: Inhabitant, task: SimTask): void {
    const { name, range } = peer.plan
    this.#world.trace(`${name} is done`)
    this.#mix(`${name} done`)
    const wanted = range ?? { start: 0, length: task.geometry.contentLength }
    for (let number = 0; number < task.geometry.pieceCount; number++) {
      const piece = pieceAt(task.geometry, number)
      if (overlap(piece, wanted) === undefined) continue
      if (!task.has(number)) this.broken(`${name} is done without piece ${number}`)
      this.#check(peer, task, piece, task.bytes(piece), 'got')
    }
    if (task.complete && this.#complete.get(peer)?.task !== task) {
      this.#complete.set(peer, { task, since: this.#world.clock.now() })
    }
  }

  /** A download failed that began at `from`. */
  onFailed(peer: Inhabitant, task: SimTask | undefined, error: unknown, from: number): void {
    const { name } = peer.plan
    const code = PeerError.is(error) ? error.code : 'other'
    this.#world.trace(`${name} failed: ${String(error)}`)
    this.#mix(`${name} ${code}`)
    this.#failures.set(code, (this.#failures.get(code) ?? 0) + 1)
    if (!PeerError.is(error)) return this.broken(`${name} failed with ${describe(error)}`)
    const why = this.#excuse(peer, task, error, from)
    if (why !== undefined) this.broken(`${name} failed with ${code} (${error.message}): ${why}`)
  }

  /** Why the failure should not have been; undefined when it was to be expected. */
  #excuse(
    peer: Inhabitant,
    task: SimTask | undefined,
    error: PeerError,
    from: number,
  ): string | undefined {
    const { weather, clock, scenario } = this.#world
    const { name, backToSource, range } = peer.plan
    const now = clock.now()
    if (range !== undefined && error.code === 'RANGE_NOT_SATISFIABLE') {
      return weather.calm(['version'], 0, now) ? 'the range lies in the content' : undefined
    }
    if (PeerError.is(error, 'NO_SPACE', 'STORE_FAILED')) {
      return weather.calm([`disk ${name}`], from, now) ? 'its disk was well' : undefined
    }
    const originWell =
      backToSource === 'allow' &&
      weather.calm([originName, 'version'], from, now) &&
      weather.open(name, originName, from, now)
    if (originWell) return 'the origin was well all the time'
    if (scenario.network.damageRate > 0 || scenario.network.lossRate > 0) return undefined
    const holder = this.#world.peers.find((other) => this.#couldServe(other, peer, task, from))
    return holder === undefined ? undefined : `${holder.plan.name} had it all the time`
  }

  #couldServe(
    other: Inhabitant,
    peer: Inhabitant,
    task: SimTask | undefined,
    from: number,
  ): boolean {
    const { weather, clock, scenario } = this.#world
    const now = clock.now()
    const start = from - learntMs
    const complete = this.#complete.get(other)
    if (other === peer || start < 0 || complete === undefined || other.gone) return false
    if (complete.since > start || other.task !== complete.task) return false
    if (task !== undefined && tokenOf(task.record) !== tokenOf(complete.task.record)) return false
    const [one, two] = [other.plan.name, peer.plan.name]
    const troubled = [one, two, `manners ${one}`, `disk ${one}`, ...scenario.schedulers]
    if (!weather.calm([...troubled, 'version'], start, now)) return false
    if (!weather.open(one, two, start, now)) return false
    return scenario.schedulers.every(
      (scheduler) =>
        weather.open(one, scheduler, start, now) && weather.open(two, scheduler, start, now),
    )
  }

  #check(peer: Inhabitant, task: SimTask, piece: Piece, bytes: Uint8Array, verb: string): void {
    const { origin } = this.#world
    const { name } = peer.plan
    const pinned = this.#pinned(task)
    if (isContent(pinned ?? 0, piece.offset, bytes)) return
    const from = task.sourceOf(piece.number)
    const found = versionOf(origin.version.number, piece, bytes)
    const what = found === undefined ? 'bytes of nothing' : `version ${found}`
    const expected = pinned === undefined ? 'unknown version' : `version ${pinned}`
    this.broken(`${name} ${verb} ${what} from ${from} as piece ${piece.number} of ${expected}`)
  }

  /** The version that the task says it is of; undefined when it does not. Origins that have no name for it never change here. */
  #pinned(task: SimTask): number | undefined {
    const token = tokenOf(task.record)
    if (token === undefined) return undefined
    let number = this.#world.origin.version.number
    while (number > 0 && versionToken(`v${number}`) !== token) number--
    return number
  }

  #mix(text: string): void {
    const now = this.#world.clock.now()
    for (const word of [text, String(now)]) {
      for (let at = 0; at < word.length; at++) {
        this.#digest = (Math.imul(this.#digest, 31) + word.charCodeAt(at)) | 0
      }
    }
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
