import { PeerError } from '../errors.ts'
import { versionToken } from '../hash/version.ts'
import { SharedWork } from '../util/shared-work.ts'
import type { Origin, OriginStat } from './ports.ts'

type Part = Parameters<Origin['read']>[0]

/** What the answer of the origin is compared with. */
export interface AskedWorld {
  readonly origin: Origin
  readonly contentLength: number
  /** URL of the origin as errors may show it. */
  readonly shownUrl: string
  /** This is the version at the origin. False when another one is wanted. */
  readonly claim: (version: string) => Promise<boolean>
}

/**
 * An origin that could not be asked about the content when the download began. Before its first byte it is: a part that is read without knowing of which version could
 * be put together with pieces of another one.
 */
export class AskedOrigin implements Origin {
  readonly #world: AskedWorld
  readonly #asking = new SharedWork<string | undefined>()
  #answer: { readonly validator: string | undefined } | undefined

  constructor(world: AskedWorld) {
    this.#world = world
  }

  /** See `Origin`. */
  stat(signal: AbortSignal): Promise<OriginStat> {
    return this.#world.origin.stat(signal)
  }

  /** See `Origin`. @throws PeerError ORIGIN_CHANGED also when it is not the version that is kept already */
  async *read(part: Part, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    const validator = part.validator ?? (await this.#validator(signal))
    const known = validator === undefined ? {} : { validator }
    yield* this.#world.origin.read({ ...part, ...known }, signal)
  }

  async #validator(signal: AbortSignal): Promise<string | undefined> {
    if (this.#answer !== undefined) return this.#answer.validator
    const validator = await this.#asking.run('', signal, (shared) => this.#ask(shared))
    this.#answer = { validator }
    return validator
  }

  async #ask(signal: AbortSignal): Promise<string | undefined> {
    const { origin, contentLength, claim } = this.#world
    const { length, validator } = await origin.stat(signal)
    if (length !== undefined && length !== contentLength) {
      throw this.#changed('length', String(contentLength), String(length))
    }
    if (validator === undefined) return undefined
    if (await claim(versionToken(validator))) return validator
    throw this.#changed('version', 'that of the pieces that are kept', validator)
  }

  #changed(what: 'length' | 'version', expected: string, actual: string): PeerError {
    const details = { url: this.#world.shownUrl, what, expected, actual }
    return new PeerError('ORIGIN_CHANGED', 'The content changed at the origin', details)
  }
}
