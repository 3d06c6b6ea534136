/** A process with registered memory that others may read: the passive end of `support/verbs-pair.ts`. */
import type { NativeEvent, NativeRemote } from '../../../../src/transport/rdma/native.ts'
import { Content } from '../../../support/content.ts'
import { serve } from './far.ts'
import { gidIndex } from './machine.ts'
import { nativeRdma } from './native-rdma.ts'

/** What the process can be told. */
export interface VerbsCommands {
  /** Opens the device and registers memory with content of this seed. */
  open: {
    readonly ask: { readonly device: string; readonly byteLength: number; readonly seed: number }
    readonly answer: {
      readonly address: bigint
      readonly key: number
      readonly port: Omit<NativeRemote, 'num' | 'timeout' | 'retries'>
    }
  }
  /** A queue pair for the one that asks. The answer is its number. */
  connect: { readonly ask: NativeRemote; readonly answer: number }
  deregister: { readonly ask: undefined; readonly answer: undefined }
  /** Does nothing else for so long, and answers at once. */
  block: { readonly ask: number; readonly answer: undefined }
  events: { readonly ask: undefined; readonly answer: readonly NativeEvent[] }
}

const native = nativeRdma()
const events: NativeEvent[] = []
let opened: Awaited<ReturnType<typeof open>> | undefined

async function open({ device, byteLength, seed }: VerbsCommands['open']['ask']) {
  const onEvent = (event: NativeEvent): void => void events.push(event)
  const context = await native.open({ device, port: 1, gidIndex, onEvent })
  const domain = await native.domain(context)
  const memory = await native.allocate(byteLength)
  new Content(byteLength, seed).fill(new Uint8Array(memory), 0)
  const registration = await native.register(domain, memory, 0, byteLength, 'remoteRead')
  return { context, domain, memory, registration }
}

function now(): NonNullable<typeof opened> {
  if (opened === undefined) throw new Error('Nothing is open')
  return opened
}

serve<VerbsCommands>({
  async open(ask) {
    opened = await open(ask)
    const { context, registration } = opened
    const { lid, gid, mtu, readsOutMax: readsOut, readsInMax: readsIn } = context
    return {
      address: registration.address,
      key: registration.remoteKey,
      port: { lid, gid, mtu, readsOut, readsIn },
    }
  },
  async connect(remote) {
    const queuePair = await native.queuePair(now().domain, { readsMax: 1, remoteRead: true })
    await native.connect(queuePair, remote)
    return queuePair.number
  },
  async deregister() {
    await native.deregister(now().registration)
  },
  block(ms) {
    // The answer goes first.
    setImmediate(() => {
      const end = performance.now() + ms
      while (performance.now() < end);
    })
  },
  events: () => events,
})
