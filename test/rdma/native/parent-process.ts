/** A parent in a process of its own: offers its memory to be read, and does what it is told over IPC. */
import { existsSync } from 'node:fs'
import type { NativeRemote } from '../../../src/transport/rdma/native.ts'
import { endOf, fill, nativeRdma, openPort } from './rig.ts'

const [device = '', length = ''] = process.argv.slice(2)
const bytes = Number(length)
const native = nativeRdma()
const { context } = await openPort(native, device)
const domain = await native.domain(context)
const queuePair = await native.queuePair(domain, { readsMax: 1, remoteRead: true })
const memory = new Uint8Array(await native.allocate(bytes))
fill(memory)
const { address, remoteKey: key } = await native.register(
  domain,
  memory.buffer,
  0,
  bytes,
  'remoteRead',
)

process.on('message', (message: { connect?: NativeRemote; blockUntil?: string }) => {
  if (message.connect !== undefined) void connect(message.connect)
  if (message.blockUntil !== undefined) {
    // Sent at once, by the system call of this process.
    process.send?.('blocked')
    while (!existsSync(message.blockUntil))
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2)
  }
})
process.send?.('ready')

async function connect(remote: NativeRemote): Promise<void> {
  await native.connect(queuePair, { ...remote, gid: new Uint8Array(remote.gid) })
  const own = endOf(context, queuePair)
  process.send?.({ ...own, gid: [...own.gid], address: String(address), key, bytes })
}
