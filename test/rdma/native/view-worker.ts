/** Looks at memory of another thread, changes a byte of it, and stays. */
import { parentPort, workerData } from 'node:worker_threads'
import { nativeRdma } from './rig.ts'

const native = nativeRdma()
const buffer = native.view(workerData as number)
const memory = new Uint8Array(buffer)
const sum = memory.reduce((all, byte) => all + byte, 0)
memory[5] = 77
parentPort?.postMessage({ sum, allocated: native.isAllocated(buffer) }, [])
setInterval(() => memory.byteLength, 1000)
