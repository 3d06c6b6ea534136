/** Leaves itself 1 GiB of address space, and says how allocating more and less than that ended. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { MiB, nativeRdma, outcome } from './rig.ts'

const native = nativeRdma()
const mapped = Number(/VmSize:\s*(\d+) kB/.exec(readFileSync('/proc/self/status', 'latin1'))?.[1])
const most = (mapped + 1024 * 1024) * 1024
execFileSync('prlimit', [`--pid=${process.pid}`, `--as=${most}:${most}`])
const ends: string[] = []
for (const bytes of [1024 * MiB, 2048 * MiB, 4096 * MiB, MiB]) {
  ends.push(await outcome(native.allocate(bytes)))
}
process.stdout.write(`${ends.join(', ')}; ${native.stats().live.regions}\n`)
