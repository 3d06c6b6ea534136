import { Code, ConnectError, type Transport } from '@connectrpc/connect'
import type { Channel } from '../../../src/rpc/channel.ts'
import { abortable, Scope } from '../../../src/util/scope.ts'
import { line } from './line.ts'
import { type Network, Unreachable } from './network.ts'

/** How long connecting may take: `openChannel`'s default. */
const connectMs = 3000

/** Who talks to whom over a `SimChannel`. */
export interface ChannelEnds {
  readonly network: Network
  readonly from: string
  readonly to: string
  readonly address: string
  /** The services of the process that runs there now. */
  readonly serve: () => Transport | undefined
}

/** A channel over the simulated network: messages are encoded and decoded as on a real one, and take their time. */
export class SimChannel implements Channel {
  readonly address: string
  readonly #ends: ChannelEnds
  readonly #lifetime = new AbortController()
  readonly #onLost = new Set<() => void>()
  /** The process to which the connection leads, until it dies. */
  #peer: AbortSignal | undefined

  constructor(ends: ChannelEnds) {
    this.#ends = ends
    this.address = ends.address
  }

  /** See `Channel`. */
  onLost(listener: () => void): void {
    this.#onLost.add(listener)
  }

  readonly unary: Transport['unary'] = async (method, signal, timeoutMs, header, input) => {
    const { network, from, to } = this.#ends
    using call = this.#call(signal, timeoutMs)
    try {
      const transport = await this.#connect(call.scope.signal)
      const answer = transport.unary(method, call.far.signal, undefined, header, input)
      const response = await abortable(answer, call.scope.signal)
      await network.arrive(to, from, call.scope.signal)
      return response
    } catch (error) {
      throw call.error(error)
    }
  }

  readonly stream: Transport['stream'] = async (method, signal, timeoutMs, header, input) => {
    const { network, from, to } = this.#ends
    const call = this.#call(signal, timeoutMs)
    try {
      const transport = await this.#connect(call.scope.signal)
      const requests = line(network, from, to, input, call.far.signal)
      const answer = transport.stream(method, call.far.signal, undefined, header, requests)
      // Whoever reads the messages hears of a failure; nobody may want them any more.
      answer.catch(() => undefined)
      await network.arrive(to, from, call.scope.signal)
      // Headers come at once, as from `serveRpc`, and not with the first message.
      return {
        stream: true,
        service: method.parent,
        method,
        header: new Headers(),
        trailer: new Headers(),
        message: this.#answers(call, messages(answer)),
      }
    } catch (error) {
      const reason = call.error(error)
      call[Symbol.dispose]()
      throw reason
    }
  }

  /** See `Channel`. A process answers however busy it is; nothing passes a way that is blocked. */
  async ping(): Promise<void> {
    const { network, from, to } = this.#ends
    using scope = new Scope([this.#lifetime.signal, network.node(from).life])
    await network.reach(from, to, connectMs, scope.signal)
    await network.arrive(to, from, scope.signal)
  }

  close(): void {
    this.#lifetime.abort(new ConnectError('The channel is closed', Code.Unavailable))
  }

  async #connect(signal: AbortSignal): Promise<Transport> {
    const { network, from, to, serve } = this.#ends
    await network.reach(from, to, connectMs, signal)
    const transport = serve()
    if (transport === undefined) throw new Unreachable(`Nobody serves at ${to}`)
    const { life } = network.node(to)
    if (this.#peer !== life) {
      this.#peer = life
      life.addEventListener('abort', () => this.#lose(life), { once: true })
    }
    return transport
  }

  /** The connection broke, which is seen from here a little later. */
  #lose(life: AbortSignal): void {
    const { network, from, to } = this.#ends
    network.arrive(to, from, this.#lifetime.signal).then(
      () => {
        if (this.#peer === life) this.#peer = undefined
        for (const listener of this.#onLost) listener()
      },
      // The channel is closed: nobody asks any more.
      () => undefined,
    )
  }

  async *#answers<T>(call: Call, source: AsyncIterable<T>): AsyncGenerator<T> {
    const { network, from, to } = this.#ends
    try {
      yield* line(network, to, from, source, call.scope.signal)
    } catch (error) {
      throw call.error(error)
    } finally {
      call[Symbol.dispose]()
    }
  }

  #call(signal: AbortSignal | undefined, timeoutMs: number | undefined): Call {
    return new Call(this.#ends, [signal, this.#lifetime.signal], timeoutMs)
  }
}

async function* messages<T>(
  answer: Promise<{ readonly message: AsyncIterable<T> }>,
): AsyncGenerator<T, void, undefined> {
  yield* (await answer).message
}

/** Both sides of one call: each ends when it is ended, when its process dies, and when it hears of the other's end. */
class Call implements Disposable {
  readonly scope: Scope
  readonly far: Scope
  readonly #releases: (() => void)[] = []
  readonly #network: Network

  constructor(ends: ChannelEnds, parents: (AbortSignal | undefined)[], timeoutMs?: number) {
    const { network, from, to } = ends
    this.#network = network
    const late = (): Error => new ConnectError('The deadline is over', Code.DeadlineExceeded)
    const own = [...parents, network.node(from).life]
    this.scope =
      timeoutMs === undefined
        ? new Scope(own)
        : new Scope(own, { timeoutMs, onTimeout: late, clock: network.clock })
    this.far = new Scope([network.node(to).up ? network.node(to).life : undefined])
    this.#releases.push(network.follow(from, to, this.scope))
    const onEnd = (): void => this.#tellFar(from, to)
    this.scope.signal.addEventListener('abort', onEnd, { once: true })
    this.#releases.push(() => this.scope.signal.removeEventListener('abort', onEnd))
    network.underWay++
  }

  /** What a real channel would fail with. */
  error(error: unknown): unknown {
    if (!(error instanceof Unreachable)) return error
    return new ConnectError(error.message, Code.Unavailable, undefined, undefined, error)
  }

  [Symbol.dispose](): void {
    if (this.#releases.length === 0) return
    for (const release of this.#releases.splice(0)) release()
    this.scope[Symbol.dispose]()
    this.far[Symbol.dispose]()
    this.#network.underWay--
  }

  #tellFar(from: string, to: string): void {
    const gone = new ConnectError('The client ended the call', Code.Canceled)
    this.#network.arrive(from, to, this.far.signal).then(
      () => this.far.abort(gone),
      // That side has ended already.
      () => undefined,
    )
  }
}
