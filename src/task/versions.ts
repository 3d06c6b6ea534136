import { PeerError } from '../errors.ts'
import type { Have, Sink } from './ports.ts'
import { crcOf, Told } from './told.ts'

/*
 * Content can change at the origin while a swarm passes the old version on, and keep its length. A piece alone does not show of which version it is: its
 * digest comes from the parent that sends it. So a run takes pieces of one version only, and this is the one place that says which.
 *
 *   version    what the origin called the content, as a token. Asked of the origin, told by parents of this package, or kept with the pieces. A run that
 *              begins without one takes that of the first piece that it keeps, and writes it down before the piece.
 *   digests    what parents of this package tell of each piece before it is read. A parent that sends another piece than it told of has changed its content.
 *   unknown    parents that tell no version: other programs, and content whose origin has none. They are believed until a digest speaks against them: of a
 *              piece that is kept, told by a parent of the known version, or told by another parent without a version of which something is kept.
 */

/** What the versions of a run need. */
export interface VersionsWorld {
  readonly sink: Sink
  /** Token of the version that is wanted; undefined while it is not known. */
  readonly version: string | undefined
  /** Versions that are not taken while it is not known which one is wanted. */
  readonly avoid: readonly string[]
  /** Writes the version down where it outlives the process. Resolves when that is done. */
  readonly keepVersion: (version: string) => Promise<void>
}

/** What is found out. */
export interface VersionsEvents {
  /** This parent has turned out to hold another version. */
  onOther(parent: string, error: PeerError): void
  /** What is kept here is of two versions. */
  onMixed(error: PeerError): void
}

/** Which version of the content a run takes, and of which each parent's pieces are. See the top of the file. */
export class Versions {
  readonly #world: VersionsWorld
  readonly #events: VersionsEvents
  readonly #told = new Map<string, Told>()
  #version: string | undefined
  /** Settled when the version is written down. */
  #kept: Promise<void> | undefined
  /** Pieces are kept whose version nobody has told. */
  #unproven: boolean

  constructor(world: VersionsWorld, events: VersionsEvents) {
    this.#world = world
    this.#events = events
    this.#version = world.version
    this.#unproven = world.version === undefined && keepsSome(world.sink)
  }

  /** Token of the version; undefined while it is not known. */
  get version(): string | undefined {
    return this.#version
  }

  /**
   * A parent told of a piece. The error says that it holds another version, and nothing of it may be taken.
   *
   * @param fits - whether the piece lies where it lies here; if not, its number may be anything
   */
  onHave(parent: string, have: Have, fits: boolean): PeerError | undefined {
    const told = this.#of(parent)
    if (told.out) return this.#changed(parent, told)
    if (have.version !== undefined) {
      const before = told.version ?? have.version
      told.version = have.version
      const wanted = this.#version ?? have.version
      const avoided = this.#version === undefined && this.#world.avoid.includes(have.version)
      if (!fits || avoided || before !== have.version || wanted !== have.version) {
        return this.#other(parent, told)
      }
    }
    const crc = crcOf(have.digest)
    if (!fits || crc === undefined) return undefined
    if (!told.tell(have.number, crc)) return this.#other(parent, told)
    return this.#compare(parent, told, have.number, crc)
  }

  /**
   * A piece has come from this parent and has this digest. Resolves when it may be kept.
   *
   * @throws PeerError ORIGIN_CHANGED when it is of another version; whatever `keepVersion` throws
   */
  async admit(parent: string, number: number, digest: string): Promise<void> {
    const told = this.#of(parent)
    const crc = crcOf(digest) ?? -1
    const { version } = told
    if (told.out) throw this.#changed(parent, told)
    if (told.contradicts(number, crc)) throw this.#other(parent, told)
    if (version === undefined) {
      const error = this.#compare(parent, told, number, crc)
      if (error !== undefined) throw error
      this.#unproven = true
    } else if (!this.#take(version)) {
      throw this.#other(parent, told)
    }
    this.#chose(told)
    await this.#kept
  }

  /** The origin says which version it has. Resolves when that is written down; false when another one is wanted. */
  async claim(version: string): Promise<boolean> {
    if (!this.#take(version)) return false
    await this.#kept
    return true
  }

  /** What is kept is not what those have who may be asked. */
  outdated(cause: unknown): PeerError<'ORIGIN_CHANGED'> {
    const message = 'Those who may be asked have another version of the content than is kept here'
    const details = {
      url: '',
      what: 'version',
      expected: this.#wanted,
      actual: 'another one',
    } as const
    return new PeerError('ORIGIN_CHANGED', message, details, { cause })
  }

  #of(parent: string): Told {
    let told = this.#told.get(parent)
    if (told === undefined) {
      told = new Told(this.#world.sink.geometry.pieceCount)
      this.#told.set(parent, told)
    }
    return told
  }

  /** unknown → known: whoever holds another one is out. False when another one is known. */
  #take(version: string): boolean {
    if (this.#version !== undefined) return this.#version === version
    this.#version = version
    this.#kept = this.#world.keepVersion(version)
    // Whoever waits for it hears of a failure, and the run may have ended by then.
    this.#kept.catch(() => undefined)
    for (const [id, told] of this.#told) {
      if (told.version !== undefined && told.version !== version) this.#dismiss(id, told)
    }
    return true
  }

  /** Something of this parent is kept: those that told of other content are out. */
  #chose(told: Told): void {
    told.taken = true
    for (const id of told.rivals) {
      const rival = this.#told.get(id)
      if (rival !== undefined) this.#dismiss(id, rival)
    }
    told.rivals.clear()
  }

  /** Compares a digest with what is kept, and with what others told. */
  #compare(parent: string, told: Told, number: number, crc: number): PeerError | undefined {
    const here = crcOf(this.#world.sink.digestOf(number))
    if (here !== undefined && here !== crc) {
      if (this.#weight(told) < 2) return this.#other(parent, told)
      if (this.#unproven) this.#events.onMixed(this.#changed(parent, told))
    }
    for (const [id, other] of this.#told) {
      if (!other.contradicts(number, crc)) continue
      const [own, its] = [this.#weight(told), this.#weight(other)]
      // Of one version: the word of one stands against that of the other, and nothing says who is wrong.
      if (own === 2 && its === 2) continue
      if (own === 0 && its === 0) {
        told.rivals.add(id)
        other.rivals.add(parent)
      } else if (own > its) {
        this.#dismiss(id, other)
      } else {
        return this.#other(parent, told)
      }
    }
    return undefined
  }

  /** Whose word counts for more: 2 the known version, 1 what is kept already, 0 anybody. */
  #weight(told: Told): 0 | 1 | 2 {
    if (told.version !== undefined && told.version === this.#version) return 2
    return told.taken ? 1 : 0
  }

  #dismiss(parent: string, told: Told): void {
    if (told.out) return
    this.#events.onOther(parent, this.#other(parent, told))
  }

  /** It holds another version. When pieces of it are kept of which nobody knew the version, what is kept is of two. */
  #other(parent: string, told: Told): PeerError {
    told.out = true
    const error = this.#changed(parent, told)
    if (told.taken && told.version === undefined) this.#events.onMixed(error)
    return error
  }

  get #wanted(): string {
    return this.#version ?? 'that of the pieces that are kept'
  }

  #changed(parent: string, told: Told): PeerError<'ORIGIN_CHANGED'> {
    return new PeerError('ORIGIN_CHANGED', `Parent ${parent} holds another version`, {
      url: '',
      what: 'version',
      expected: this.#wanted,
      actual: told.version ?? 'another one',
    })
  }
}

function keepsSome(sink: Sink): boolean {
  for (let number = 0; number < sink.geometry.pieceCount; number++) {
    if (sink.has(number)) return true
  }
  return false
}
