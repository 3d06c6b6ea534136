import { publish } from '../../hooks.ts'
import type { TransportHost } from '../transport.ts'
import type { Addon } from './addon.ts'
import { type Choice, choose } from './choice.ts'
import { reopenMs } from './limits.ts'
import type { NativeContext, NativeEvent, NativeRdma } from './native.ts'
import { nativeReason } from './native-failure.ts'
import { type OpenPort, openSides } from './open-port.ts'
import type { RdmaSettings } from './options.ts'

/** Numbers of `ibv_event_type`. */
const events = { deviceFatal: 8, portActive: 9, portError: 10 } as const

/** What the port tells. */
export interface PortEvents {
  /** Nothing can be read any more for this reason; what is open is to be given up. */
  onLost(reason: string): void
  /** Something happened to a queue pair. */
  onQueuePair(number: number): void
}

type State =
  | { readonly is: 'off'; readonly reason: string }
  | { readonly is: 'on'; readonly port: OpenPort; readonly choice: Choice }
  | {
      readonly is: 'down'
      readonly port: OpenPort
      readonly choice: Choice
      readonly reason: string
    }
  | { readonly is: 'closed' }

/**
 * The RDMA port of this peer: opened when the peer starts, given up when the device breaks, waited for while the cable is out. A peer without one starts all
 * the same; the state says why, and so does the hook `transport:changed`.
 */
export class Port {
  readonly #load: () => Addon
  readonly #settings: RdmaSettings
  readonly #host: TransportHost
  readonly #events: PortEvents
  #state: State = { is: 'off', reason: 'Not opened yet' }
  #stopTimer: () => void = () => undefined

  constructor(
    load: () => Addon,
    settings: RdmaSettings,
    host: TransportHost,
    portEvents: PortEvents,
  ) {
    this.#load = load
    this.#settings = settings
    this.#host = host
    this.#events = portEvents
  }

  /** The open port; undefined when it cannot be used now. */
  get open(): OpenPort | undefined {
    return this.#state.is === 'on' ? this.#state.port : undefined
  }

  /** Why it cannot be used; empty when it can. */
  get reason(): string {
    switch (this.#state.is) {
      case 'on':
        return ''
      case 'closed':
        return 'Closed'
      case 'off':
      case 'down':
        return this.#state.reason
    }
  }

  /** off → on, or off with the reason. Never rejects. */
  async start(): Promise<void> {
    const loaded = this.#load()
    if ('reason' in loaded) return this.#off(loaded.reason)
    try {
      loaded.native.load(this.#settings.library)
    } catch (error) {
      return this.#off(nativeReason(error))
    }
    await this.#open(loaded.native)
  }

  /** The state as plain data. */
  explain(): unknown {
    const state = this.#state
    if (state.is === 'off' || state.is === 'closed') return { is: state.is, reason: this.reason }
    const { device, port, gidIndex, gid } = state.choice
    const { imports, exports: exported, context, native } = state.port
    return {
      is: state.is,
      reason: this.reason,
      device,
      port,
      gidIndex,
      gid,
      mtu: context.mtu,
      registered: { imports: imports.regions.count, exports: exported.regions.count },
      slabs: { imports: imports.slabs.explain(), exports: exported.slabs.explain() },
      process: native.stats(),
    }
  }

  /** any → closed. What is open is freed. */
  async close(): Promise<void> {
    const state = this.#state
    this.#state = { is: 'closed' }
    this.#stopTimer()
    if ('port' in state) await state.port.native.close(state.port.context)
  }

  async #open(native: NativeRdma): Promise<void> {
    const { memoryBytesMax } = this.#settings
    let opened: NativeContext | undefined
    try {
      const choice = await this.#choose(native)
      if (choice === undefined) return
      const { device, port: number, gidIndex } = choice
      const context = await native.open({
        device,
        port: number,
        gidIndex,
        onEvent: (event) => this.#onEvent(native, event),
      })
      opened = context
      const port = await openSides(native, context, memoryBytesMax, this.#host.clock)
      if (this.#state.is !== 'off') return await native.close(context)
      this.#state = { is: 'on', port, choice }
      this.#tell()
    } catch (error) {
      this.#off(nativeReason(error))
      this.#later(native)
      if (opened !== undefined) await native.close(opened).catch(() => undefined)
    }
  }

  async #choose(native: NativeRdma): Promise<Choice | undefined> {
    const hostIp = this.#host.hostIp ?? this.#host.listen.ip
    const choice = choose(await native.devices(), this.#settings, hostIp)
    if (choice.is === 'chosen') return choice
    this.#off(choice.reason)
    this.#later(native)
    return undefined
  }

  /** A device may come, or a cable. */
  #later(native: NativeRdma): void {
    if (this.#state.is === 'closed') return
    this.#stopTimer()
    this.#stopTimer = this.#host.clock.after(reopenMs, () => void this.#open(native))
  }

  #onEvent(native: NativeRdma, { type, queuePair }: NativeEvent): void {
    const state = this.#state
    if (state.is !== 'on' && state.is !== 'down') return
    const { port, choice } = state
    if (type === events.deviceFatal) {
      this.#lost(`Device ${choice.device} failed`)
      this.#off(`Device ${choice.device} failed`)
      this.#later(native)
      void port.native.close(port.context).catch(() => undefined)
    } else if (type === events.portError) {
      const reason = `Port ${choice.port} of ${choice.device} is down`
      this.#lost(reason)
      this.#state = { is: 'down', port, choice, reason }
      this.#tell()
    } else if (type === events.portActive && state.is === 'down') {
      this.#state = { is: 'on', port, choice }
      this.#tell()
    } else if (queuePair !== 0) {
      this.#events.onQueuePair(queuePair)
    }
  }

  #lost(reason: string): void {
    if (this.#state.is === 'on') this.#events.onLost(reason)
  }

  #off(reason: string): void {
    if (this.#state.is === 'closed') return
    const known = this.#state.is === 'off' && this.#state.reason === reason
    this.#state = { is: 'off', reason }
    if (!known) this.#tell()
  }

  #tell(): void {
    publish('dragonfly-peer:transport:changed', () => ({
      transport: 'rdma',
      usable: this.#state.is === 'on',
      reason: this.reason,
    }))
  }
}
