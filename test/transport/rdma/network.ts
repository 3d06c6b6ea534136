import { PeerError } from '../../../src/errors.ts'
import type { Parent, ParentAddress } from '../../../src/task/ports.ts'
import { refused, unreachable } from '../../../src/transport/parent-errors.ts'
import type { Addon } from '../../../src/transport/rdma/addon.ts'
import type { RdmaControl, RdmaService } from '../../../src/transport/rdma/control.ts'
import type { NativeRdma } from '../../../src/transport/rdma/native.ts'
import { type RdmaOptions, rdmaSettings } from '../../../src/transport/rdma/options.ts'
import { RdmaTransport } from '../../../src/transport/rdma/rdma-transport.ts'
import type { Transport, TransportFactory } from '../../../src/transport/transport.ts'

const firstPort = 30_000

/**
 * A control plane inside one process: what gRPC is in a peer. Each transport that listens gets an address, at which the others ask it.
 */
export class RdmaNetwork {
  readonly #native: NativeRdma
  readonly #options: RdmaOptions
  readonly #services = new Map<number, RdmaService>()
  #nextPort = firstPort
  /** What was asked, in order: method and detail. */
  readonly calls: string[] = []
  /** Changes the control plane of children that are made from now on. */
  wrap: (control: RdmaControl) => RdmaControl = (control) => control

  constructor(native: NativeRdma, options: RdmaOptions = {}) {
    this.#native = native
    this.#options = options
  }

  /** Makes a transport that is asked by its TCP port, so that the suite of all transports can be run on it. */
  factory(): TransportFactory {
    return (host) => {
      const transport = this.transport()({ ...host, rdma: this.wrap(this.#control()) })
      let at: { readonly ip: string; readonly port: number } | undefined
      const asPort = (from: ParentAddress): ParentAddress => ({
        ...from,
        parent: { ...from.parent, port: from.endpoint.tcpPort ?? 0 },
      })
      const leave = (): void => {
        if (at !== undefined) this.#services.delete(at.port)
      }
      const listen = async (): Promise<{ readonly ip: string; readonly port: number }> => {
        await transport.listen()
        if (at !== undefined) return at
        const { ip, port } = host.listen
        at = { ip, port: this.#enter(port, transport) }
        return at
      }
      const wrapped: Transport = {
        name: transport.name,
        reaches: (from) => from.endpoint.tcpPort !== undefined && transport.reaches(asPort(from)),
        read: async (from, request, slot, signal) => {
          if (from.endpoint.tcpPort === undefined) throw unreachable(from.parent.id, 'No port')
          // A child of the suite is not told to listen.
          await transport.listen()
          return await transport.read(asPort(from), request, slot, signal)
        },
        listen,
        explain: () => transport.explain(),
        close: async (timeoutMs) => {
          // As a gRPC server: what is on its way may end, nothing new comes in.
          await transport.close(timeoutMs)
          leave()
        },
        destroy: (reason) => {
          leave()
          transport.destroy(reason)
        },
      }
      return wrapped
    }
  }

  /** Makes a transport without an address. */
  transport(): (host: Parameters<TransportFactory>[0]) => RdmaTransport {
    const load = (): Addon => ({ native: this.#native })
    return (host) => new RdmaTransport(load, rdmaSettings(this.#options), host)
  }

  /** What is served at the address of a transport. */
  serviceAt(port: number | undefined): RdmaService {
    const service = this.#services.get(port ?? 0)
    if (service === undefined) throw new RangeError(`Nobody is at ${port}`)
    return service
  }

  #enter(wanted: number, transport: RdmaTransport): number {
    const port = wanted === 0 ? this.#nextPort++ : wanted
    if (this.#services.has(port)) {
      const address = `127.0.0.1:${port}`
      throw new PeerError('LISTEN_FAILED', 'In use', { address, reason: 'in use' })
    }
    this.#services.set(port, transport.rdma)
    return port
  }

  #control(): RdmaControl {
    const ask = async <T>(
      parent: Parent,
      call: string,
      work: (service: RdmaService) => T | Promise<T>,
    ): Promise<T> => {
      this.calls.push(call)
      const service = this.#services.get(parent.port)
      if (service === undefined) throw unreachable(parent.id, 'Nobody listens there')
      try {
        return await work(service)
      } catch (error) {
        throw asTold(parent.id, error)
      }
    }
    const caller = '127.0.0.1'
    return {
      offer: (parent) => ask(parent, 'offer', (service) => service.offer()),
      exchange: (parent, own, signal) =>
        ask(parent, 'exchange', (service) => service.exchange(own, caller, signal)),
      lease: (parent, request, signal) =>
        ask(parent, `lease ${request.pieces.join()}`, (service) =>
          service.lease(request, caller, signal),
        ),
      renew: (parent, lease) => ask(parent, 'renew', (service) => service.renew(lease, caller)),
      release: (parent, lease, read) =>
        ask(parent, `release ${read.join()}`, (service) => service.release(lease, read, caller)),
    }
  }
}

/** What a child hears of a failure at the parent. */
function asTold(parent: string, error: unknown): unknown {
  if (PeerError.is(error, 'LIMIT_REACHED')) return error
  if (PeerError.is(error, 'CLOSED')) return unreachable(parent, error.message, error)
  const notFound = PeerError.is(error, 'TASK_NOT_FOUND')
  return refused(parent, notFound ? 'not found: No such piece here' : 'internal: Cannot serve')
}
