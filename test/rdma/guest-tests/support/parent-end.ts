/** A process that serves a shelf over RDMA and TCP: the parent of `support/transport-pair.ts`. */
import assert from 'node:assert/strict'
import { rdma } from '../../../../src/transport/rdma/rdma.ts'
import type {
  Lease,
  LeaseRequest,
  QueuePairEndpoint,
  RdmaOffer,
  RdmaService,
} from '../../../../src/transport/rdma/control.ts'
import type { Shelf } from '../../../../src/task/ports.ts'
import { tcp } from '../../../../src/transport/tcp/tcp.ts'
import type { Transport, TransportHost } from '../../../../src/transport/transport.ts'
import { systemClock } from '../../../../src/util/clock.ts'
import { never, noLimit } from '../../../transport/pair.ts'
import { serve } from './far.ts'
import { ends, gidIndex } from './machine.ts'
import { baseBytes, MixedShelf } from './mixed-shelf.ts'

/** What the process can be told. The middle ones stand for what `peer` does over gRPC. */
export interface ParentCommands {
  /** Answers with the port of TCP. */
  start: { readonly ask: { readonly tcpIp: string }; readonly answer: number }
  offer: { readonly ask: undefined; readonly answer: RdmaOffer }
  exchange: { readonly ask: QueuePairEndpoint; readonly answer: QueuePairEndpoint }
  lease: { readonly ask: LeaseRequest; readonly answer: Lease }
  renew: { readonly ask: string; readonly answer: number }
  release: {
    readonly ask: { readonly lease: string; readonly read: readonly number[] }
    readonly answer: undefined
  }
  /** Takes all memory back, at once, and serves over TCP only. */
  revoke: { readonly ask: undefined; readonly answer: undefined }
}

const caller = 'child'
let transport: Transport | undefined

function service(): RdmaService {
  assert.ok(transport?.rdma !== undefined, 'Not started')
  return transport.rdma
}

serve<ParentCommands>({
  async start({ tcpIp }) {
    let shelf: Shelf = { open: () => Promise.reject(new Error('Not started')) }
    const host: TransportHost = {
      shelf: { open: (request, signal) => shelf.open(request, signal) },
      listen: { ip: tcpIp, port: 0 },
      hostIp: ends.parent.ip,
      uploadRate: noLimit,
      uploadSlots: 64,
      clock: systemClock,
    }
    transport = rdma({ device: ends.parent.device, gidIndex })(host)
    await transport.listen()
    const memory = await transport.allocate?.(baseBytes, true)
    assert.ok(memory !== undefined, JSON.stringify(transport.explain()))
    shelf = new MixedShelf(new Uint8Array(memory))
    const at = await tcp()(host).listen()
    assert.ok(at !== undefined)
    return at.port
  },
  offer: () => service().offer(),
  exchange: (endpoint) => service().exchange(endpoint, caller, never),
  lease: (request) => service().lease(request, caller, never),
  renew: (lease) => service().renew(lease, caller),
  release({ lease, read }) {
    service().release(lease, read, caller)
    return undefined
  },
  async revoke() {
    transport?.destroy(new Error('Revoked'))
    await transport?.close()
    return undefined
  },
})
