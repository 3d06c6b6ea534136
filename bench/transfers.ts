/** From parents to a child, each a process of its own, beside C programs that do the same. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Benchmark, Row, Settings } from './benchmark.ts'
import { interleaved, type Sample } from './interleaved.ts'
import { compiled, ran, type Transferred } from './reference.ts'
import { sourceFile } from './source-file.ts'
import { compared, gibibyte, type Goal, mebibyte } from './statistics.ts'
import { Swarm } from './swarm.ts'
import { throughput, transferRows } from './transfer-rows.ts'

/** Bytes of content: a run of either side takes more than a second on a quiet machine, and Linux does not begin to write the file to the disk meanwhile. */
const length = { thorough: 2 * gibibyte, quick: 64 * mebibyte }
/** Resident memory of a child that writes to the disk. */
const toDiskBytesMax = 128 * mebibyte
/** Resident memory of a child beside the content in memory. */
const besideContentBytesMax = 64 * mebibyte

interface Transfer {
  readonly name: string
  readonly about: string
  /** Name of the rows. */
  readonly rows: string
  readonly reference: string
  readonly parents: number
  /** Parents have the content in memory, not in a file. */
  readonly held?: boolean
  readonly to: 'file' | 'memory'
  readonly goal: Goal
}

/** One parent with a file, a child that writes a file. */
export const oneParentFile: Benchmark = benchmark({
  name: 'one-parent-file',
  about: 'a file of one parent becomes a file of a child',
  rows: 'one parent to a file',
  reference: 'C: sendfile, recv + crc32 + pwrite',
  parents: 1,
  to: 'file',
  goal: { is: 'at least', ratio: 0.9 },
})

/** One parent with a file, a child that keeps the content in one allocation. */
export const oneParentMemory: Benchmark = benchmark({
  name: 'one-parent-memory',
  about: 'a file of one parent becomes one array in the memory of a child',
  rows: 'one parent to memory',
  reference: 'C: sendfile, recv + crc32 into new memory',
  parents: 1,
  to: 'memory',
  goal: { is: 'at least', ratio: 0.8 },
})

/** Three parents, a child that writes a file. */
export const threeParentsFile: Benchmark = benchmark({
  name: 'three-parents-file',
  about: 'a file that three parents have becomes a file of a child',
  rows: 'three parents to a file',
  reference: 'C: 3 × sendfile, 3 threads recv + crc32 + pwrite',
  parents: 3,
  to: 'file',
  goal: { is: 'at least', ratio: 0.9 },
})

/** One parent that holds the content in memory, a child that does too. */
export const heldMemory: Benchmark = benchmark({
  name: 'held-memory',
  about: 'content in the memory of one parent becomes one array in the memory of a child',
  rows: 'memory of a parent to memory',
  reference: 'C: send from memory, recv + crc32 into new memory',
  parents: 1,
  held: true,
  to: 'memory',
  goal: { is: 'at least', ratio: 0.8 },
})

function benchmark(transfer: Transfer): Benchmark {
  const { name, about } = transfer
  return { name, about, run: async (settings) => measured(settings, transfer) }
}

async function measured(settings: Settings, transfer: Transfer): Promise<Row[]> {
  const bytes = settings.bytes ?? (settings.quick ? length.quick : length.thorough)
  const source = sourceFile(settings, bytes)
  compiled('transfer')
  await using swarm = await Swarm.start(settings, { ...transfer, source })
  const { to } = transfer
  const { ours, theirs, touched } = await interleaved(settings, {
    ours: async () => swarm.download(to),
    theirs: async () => reference(settings, transfer, source),
    // Not a goal: a program whose memory is there already, which a new array never is.
    touched: to === 'memory' ? async () => reference(settings, transfer, source, true) : undefined,
  })
  const peakBytesMax = to === 'file' ? toDiskBytesMax : bytes + besideContentBytesMax
  const { rows: name, reference: of, goal } = transfer
  const rows = transferRows({ name, reference: of, ours, theirs, goal, peakBytesMax })
  if (touched.length === 0) return rows
  const told = compared({
    name: `${name}, beside memory touched before`,
    unit: 'MiB/s',
    ours: ours.map(throughput),
    reference: of.replace('new memory', 'touched memory'),
    theirs: touched.map(throughput),
  })
  return [...rows, told]
}

async function reference(
  { folder }: Settings,
  { parents, held = false, to }: Transfer,
  source: string,
  touched = false,
): Promise<Sample> {
  const target = join(folder, 'c-output')
  const where = to === 'file' ? ['to-file', target] : [touched ? 'to-touched' : 'to-memory']
  const how = ['--parents', String(parents), ...(held ? ['--held'] : [])]
  const { childPeakBytes, ...sample } = await ran<Transferred>('transfer', [
    source,
    ...where,
    ...how,
  ])
  rmSync(target, { force: true })
  return { ...sample, peakBytes: childPeakBytes }
}
