import { PeerError } from '../../../src/errors.ts'
import { pieceNews } from '../../../src/peer/piece-news.ts'
import { versionOf } from '../../../src/peer/record.ts'
import { type Geometry, pieceAt } from '../../../src/task/piece.ts'
import type {
  Feed,
  Have,
  Parent,
  ParentAddress,
  PieceReader,
  PieceRequest,
  Received,
  Slot,
} from '../../../src/task/ports.ts'
import { Scope } from '../../../src/util/scope.ts'
import type { Slots } from '../../../src/util/slots.ts'
import { never } from '../clock.ts'
import type { SimTask } from './disk.ts'
import { line } from './line.ts'
import { type Network, Unreachable } from './network.ts'
import type { Manners } from './scenario.ts'

/** A parent that has not sent headers after this long is hung: as in `ParentFeed`. */
const headersMs = 3000
/** How long connecting may take: `tcp`'s default. */
const connectMs = 2000

/** The serving side of a peer, as others find it. */
export interface Upload {
  readonly manners: Manners
  /** Bytes per millisecond. */
  readonly uplink: number
  readonly slots: Slots
  /** What is kept there; undefined when there is no process, or it keeps nothing. */
  readonly task: SimTask | undefined
  /** End of the run that fetches the task, if there is one. */
  readonly ending: Promise<void> | undefined
  /** A child that asks for pieces says who it is. */
  meet(peerId: string): void
  /** How the children of this swarm cut the content. */
  readonly cut: Geometry
}

/** What one peer learns and reads from others over the simulated network. */
export class SimPieces implements Feed, PieceReader {
  readonly #network: Network
  readonly #self: string
  readonly #parts: number
  readonly #upload: (name: string) => Upload
  readonly #onFeed: (open: 1 | -1) => void
  /** Feeds and reads that are open. */
  open = 0

  constructor(
    network: Network,
    self: string,
    parts: number,
    upload: (name: string) => Upload,
    onFeed: (open: 1 | -1) => void = () => undefined,
  ) {
    this.#network = network
    this.#self = self
    this.#parts = parts
    this.#upload = upload
    this.#onFeed = onFeed
  }

  async watch(
    parent: Parent,
    request: Parameters<Feed['watch']>[1],
    onHave: (have: Have) => void,
    signal: AbortSignal,
  ): Promise<void> {
    if (parent.hostId === this.#self) throw protocol(parent.id, 'host')
    using scope = new Scope([signal, this.#network.node(this.#self).life])
    const hung = (): void => scope.abort(new Unreachable('It does not begin to answer'))
    const begun = this.#network.clock.after(headersMs, hung)
    const release = this.#network.follow(this.#self, parent.hostId, scope)
    const far = new Scope([])
    this.open++
    this.#onFeed(1)
    try {
      await this.#network.reach(this.#self, parent.hostId, connectMs, scope.signal)
      const told = this.#told(parent, request, far.signal)
      await this.#network.arrive(parent.hostId, this.#self, scope.signal)
      begun()
      const news = line(this.#network, parent.hostId, this.#self, told, scope.signal)
      for await (const have of news) onHave(have)
    } catch (error) {
      signal.throwIfAborted()
      throw error instanceof Unreachable ? unreachable(parent.id, error.message) : error
    } finally {
      begun()
      release()
      far.abort(new Unreachable('Nobody listens'))
      this.open--
      this.#onFeed(-1)
    }
  }

  async ping({ hostId }: Parent): Promise<void> {
    using scope = new Scope([this.#network.node(this.#self).life])
    await this.#network.reach(this.#self, hostId, connectMs, scope.signal)
    await this.#network.arrive(hostId, this.#self, scope.signal)
  }

  async read(
    { parent }: ParentAddress,
    { piece }: PieceRequest,
    slot: Slot,
    signal: AbortSignal,
  ): Promise<Received> {
    using scope = new Scope([signal, this.#network.node(this.#self).life])
    const release = this.#network.follow(this.#self, parent.hostId, scope)
    this.open++
    try {
      await this.#network.reach(this.#self, parent.hostId, connectMs, scope.signal)
      const upload = this.#upload(parent.hostId)
      const { reads } = upload.manners
      if (reads === 'silent') await never(scope.signal)
      if (reads === 'refused' || upload.task === undefined) throw refused(parent.id)
      const open = await upload.task.open(piece.number, scope.signal)
      try {
        if (open.piece.offset !== piece.offset || open.piece.length !== piece.length) {
          throw protocol(parent.id, 'piece')
        }
        const bytes = open.memory?.slice() ?? new Uint8Array()
        if (reads === 'wrong' || this.#network.damages()) bytes[0] = 255 - (bytes[0] ?? 0)
        await this.#send(parent.hostId, upload, bytes, slot, scope.signal)
        return { digest: open.digest }
      } finally {
        open.close()
      }
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof Unreachable) throw unreachable(parent.id, error.message)
      // The parent closes, or dropped what was asked for.
      if (PeerError.is(error, 'TASK_NOT_FOUND', 'CLOSED')) throw refused(parent.id)
      throw error
    } finally {
      release()
      this.open--
    }
  }

  /** Sends the bytes in parts, each of which takes its turn on the uplink. */
  async #send(
    from: string,
    upload: Upload,
    bytes: Uint8Array,
    slot: Slot,
    signal: AbortSignal,
  ): Promise<void> {
    const { reads } = upload.manners
    const slow = reads === 'slow' ? 50 : 1
    const step = Math.ceil(bytes.length / this.#parts)
    const end = reads === 'short' || reads === 'stuck' ? bytes.length >> 1 : bytes.length
    using _ = await upload.slots.take(signal)
    for (let at = 0; at < end; at += step) {
      const part = bytes.subarray(at, Math.min(at + step, end))
      await this.#network.clock.sleep(Math.ceil((part.length / upload.uplink) * slow), signal)
      await this.#network.arrive(from, this.#self, signal)
      await put(part, slot)
      signal.throwIfAborted()
    }
    if (reads === 'stuck') await never(signal)
  }

  async *#told(
    parent: Parent,
    { spec, numbers, version, peerId }: Parameters<Feed['watch']>[1],
    signal: AbortSignal,
  ): AsyncGenerator<Have, void, undefined> {
    const upload = this.#upload(parent.hostId)
    const { manners, task, ending, cut } = upload
    const endpoint = { ip: parent.ip, tcpPort: parent.port }
    if (manners.feed === 'mute') await never(signal)
    if (manners.feed === 'muddled') {
      yield { number: cut.pieceCount, offset: 0, length: 1, endpoint }
      return
    }
    if (manners.feed === 'lies') {
      for (const number of numbers) {
        if (number < cut.pieceCount) yield { ...pieceAt(cut, number), endpoint }
      }
      await never(signal)
    }
    if (manners.feed === 'refused') throw refused(parent.id)
    if (task === undefined) throw missing(spec.id)
    const own = versionOf(task.record)
    if (version !== undefined && own !== undefined && own !== version) {
      throw new PeerError('ORIGIN_CHANGED', 'Another version is kept there', {
        url: '',
        what: 'version',
        expected: version,
        actual: own,
      })
    }
    if (peerId !== undefined) upload.meet(peerId)
    const news = pieceNews(task, numbers, ending, signal)
    for (;;) {
      const next = await news.next()
      if (next.done === true) {
        if (next.value === 'dropped') throw missing(spec.id)
        return
      }
      const digest = task.digestOf(next.value.number)
      const held = versionOf(task.record)
      yield {
        ...next.value,
        endpoint,
        ...(digest === undefined ? {} : { digest }),
        ...(held === undefined ? {} : { version: held }),
      }
    }
  }
}

async function put(bytes: Uint8Array, slot: Slot): Promise<void> {
  let rest = bytes
  while (rest.length > 0) {
    const space = slot.space()
    if (space === undefined) {
      await slot.drained()
      continue
    }
    const part = rest.subarray(0, space.length)
    space.set(part)
    slot.fill(part.length)
    rest = rest.subarray(part.length)
  }
}

function unreachable(parent: string, reason: string): PeerError {
  return new PeerError('PARENT_UNREACHABLE', reason, { parent, reason })
}

function missing(task: string): PeerError {
  return new PeerError('TASK_NOT_FOUND', 'It is not here', { task })
}

function refused(parent: string): PeerError {
  return new PeerError('PARENT_REFUSED', 'It is not here', { parent, reason: 'not found' })
}

function protocol(parent: string, what: string): PeerError {
  const details = { parent, what, expected: 'another', actual: 'this' }
  return new PeerError('PARENT_PROTOCOL', `Wrong ${what}`, details)
}
