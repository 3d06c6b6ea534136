import { readFileSync, writeFileSync } from 'node:fs'

/** Of `utime` and `stime`: the same on all machines that Node.js runs on. */
const ticksPerSecond = 100
/** Fields of `/proc/PID/stat` behind the name of the program, which may hold spaces. */
const [userField, systemField] = [11, 12]
/** The same of children that have ended. */
const [endedUserField, endedSystemField] = [13, 14]

/** What processes have used so far, by the count of the kernel: it works for any program, and needs nothing of it. Linux only. */
export class Meter {
  readonly #pids: readonly number[]

  constructor(pids: readonly number[]) {
    this.#pids = pids
  }

  /** Processor time, user and system, of all of them together, with an exactness of 0.01 s for each. */
  cpuSeconds(): number {
    return this.#pids.reduce((sum, pid) => sum + cpuSecondsOf(pid), 0)
  }

  /** The largest peak of resident memory of one of them since its start or the last `resetPeaks()`. */
  peakBytes(): number {
    return Math.max(...this.#pids.map(peakBytesOf))
  }

  /** From now on peaks count anew. */
  resetPeaks(): void {
    for (const pid of this.#pids) writeFileSync(`/proc/${pid}/clear_refs`, '5')
  }
}

function cpuSecondsOf(pid: number): number {
  return secondsOf(pid, [userField, systemField])
}

/** Processor time, user and system, of all processes that this one started and that have ended: what somebody uses who is there only for a moment is the difference between two looks. */
export function cpuSecondsOfEnded(): number {
  return secondsOf(process.pid, [endedUserField, endedSystemField])
}

function secondsOf(pid: number, numbers: readonly number[]): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return numbers.reduce((sum, number) => sum + Number(fields[number]), 0) / ticksPerSecond
}

/** The kernel's own high-water mark: no sampling can miss a peak. */
function peakBytesOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, 'latin1')
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(text)?.[1]) * 1024
}
