/** One parent serves eight children at once. The children are a C program that throws away what it gets, so that the parent is what is measured. */
import { join } from 'node:path'
import { freePorts } from '../test/interop/support/free-ports.ts'
import type { Benchmark, Settings } from './benchmark.ts'
import { interleaved, type Sample } from './interleaved.ts'
import { Meter } from './meter.ts'
import { PeerProcess } from './peer-process.ts'
import { ran, Served } from './reference.ts'
import { sourceFile } from './source-file.ts'
import { mebibyte, median } from './statistics.ts'
import { throughput, transferRows } from './transfer-rows.ts'

const children = 8
const length = { thorough: 512 * mebibyte, quick: 32 * mebibyte }
/** What ours takes for content of these lengths. */
const pieceLength = 4 * mebibyte
/** The C program serves its one file whatever the task is called. */
const anyTask = '0'.repeat(64)

/** See above. */
export const serving: Benchmark = {
  name: 'serving',
  about: 'one parent serves eight children at once',
  run: async (settings) => {
    const bytes = settings.bytes ?? (settings.quick ? length.quick : length.thorough)
    const source = sourceFile(settings, bytes)
    await using sending = await Served.start('serving', [source, String(pieceLength), 'sendfile'])
    await using copying = await Served.start('serving', [source, String(pieceLength), 'copy'])
    await using parent = new PeerProcess()
    const { port, task } = await publish(settings, parent, source)
    const { ours, sendfile, copy } = await interleaved(settings, {
      ours: async () => {
        await parent.ask({ is: 'watch' })
        const sample = await drained(parent.pid, port, task, bytes)
        return { ...sample, turnMs: (await parent.ask({ is: 'watched' })).longestTurnMs }
      },
      sendfile: async () => drained(sending.pid, sending.port, anyTask, bytes),
      copy: async () => drained(copying.pid, copying.port, anyTask, bytes),
    })
    const [byFile, byCopy] = [sendfile, copy].map((each) => median(each.map(throughput)))
    // Which one is faster depends on the machine; the goal is that one.
    const theirs = (byFile ?? 0) >= (byCopy ?? 0) ? sendfile : copy
    return transferRows({
      name: 'serving 8 children',
      reference: `C: 8 threads, ${theirs === sendfile ? 'sendfile' : 'pread + send'}`,
      ours,
      theirs,
      goal: { is: 'at least', ratio: 0.8 },
      peakBytesMax: 128 * mebibyte,
    })
  },
}

async function publish(
  { folder }: Settings,
  parent: PeerProcess,
  source: string,
): Promise<{ readonly port: number; readonly task: string }> {
  const [port = 0] = await freePorts(1)
  const options = { store: { dir: join(folder, 'serving') }, listen: { tcpPort: port } }
  await parent.ask({ is: 'start', peer: 'parent', options })
  const url = 'https://bench.invalid/serving'
  const { task } = await parent.ask({ is: 'seed', peer: 'parent', url, path: source })
  return { port, task }
}

/** Processor time and memory are those of the parent alone. */
async function drained(pid: number, port: number, task: string, whole: number): Promise<Sample> {
  const meter = new Meter([pid])
  meter.resetPeaks()
  const before = meter.cpuSeconds()
  const args = [port, task, whole, pieceLength, children].map(String)
  const { bytes, seconds } = await ran<Sample>('serving', ['drain', ...args])
  return {
    bytes,
    seconds,
    cpuSeconds: meter.cpuSeconds() - before,
    peakBytes: meter.peakBytes(),
  }
}
