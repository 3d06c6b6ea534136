/** Leaves a context open and a read on its way: has to end by itself, after the read. */
import { connectedPair, MiB, nativeRdma, openPort } from './rig.ts'

const native = nativeRdma()
const { context } = await openPort(native)
const pair = await connectedPair(native, context)
void pair.read(0, 4 * MiB).then(() => process.stdout.write('read done\n'))
