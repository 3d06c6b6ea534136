/** Resident memory of peers that move a long file, each in a new process: peaks are those of its whole life. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Benchmark, Row, Settings } from './benchmark.ts'
import { Meter } from './meter.ts'
import { PeerProcess } from './peer-process.ts'
import { Served } from './reference.ts'
import { sourceFile } from './source-file.ts'
import { bounded, gibibyte, mebibyte } from './statistics.ts'

const length = { thorough: 2 * gibibyte, quick: 256 * mebibyte }
/** The figure of the project, whatever the length of the file. */
const peakBytesMax = 128 * mebibyte
const url = 'https://bench.invalid/memory'

/** See above. */
export const memory: Benchmark = {
  name: 'memory',
  about:
    'resident memory of a peer that publishes a long file, and of peers that download it to disk',
  run: async (settings) => {
    const bytes = settings.bytes ?? (settings.quick ? length.quick : length.thorough)
    const source = sourceFile(settings, bytes)
    return [...(await fromPeer(settings, source)), await fromOrigin(settings, source)]
  },
}

async function fromPeer({ folder, say }: Settings, source: string): Promise<Row[]> {
  await using publisher = new PeerProcess()
  await using reader = new PeerProcess()
  const [dir, output] = [join(folder, 'memory'), join(folder, 'memory-output')]
  const idle = await publisher.ask({
    is: 'start',
    peer: 'publisher',
    options: { store: { dir: `${dir}-0` } },
  })
  const rows = [row('a peer that does nothing', publisher)]
  const { scheduler } = idle
  const options = { scheduler, store: { dir: `${dir}-1` } }
  await reader.ask({ is: 'start', peer: 'reader', options })
  await publisher.ask({ is: 'seed', peer: 'publisher', url, path: source })
  rows.push(row('publish a file', publisher))
  const order = { is: 'download', peer: 'reader', target: url, path: output } as const
  await reader.ask({ ...order, backToSource: 'never' })
  rows.push(
    row('download to disk from a peer', reader),
    row('publish a file and serve it', publisher),
  )
  say('from a peer')
  for (const path of [`${dir}-0`, `${dir}-1`, output]) rmSync(path, { recursive: true })
  return rows
}

async function fromOrigin({ folder, say }: Settings, source: string): Promise<Row> {
  await using origin = await Served.start('origin', [source])
  await using reader = new PeerProcess()
  const [dir, path] = [join(folder, 'memory'), join(folder, 'memory-output')]
  await reader.ask({ is: 'start', peer: 'reader', options: { store: { dir } } })
  const target = `http://127.0.0.1:${origin.port}/content`
  await reader.ask({ is: 'download', peer: 'reader', target, path })
  say('from an origin')
  const made = row('download to disk from an origin', reader)
  for (const each of [dir, path]) rmSync(each, { recursive: true })
  return made
}

function row(what: string, { pid }: PeerProcess): Row {
  return bounded({
    name: `peak resident: ${what}`,
    unit: 'MiB',
    values: [new Meter([pid]).peakBytes() / mebibyte],
    max: peakBytesMax / mebibyte,
    note: 'the whole process, of which Node.js itself is 40 to 60 MiB',
  })
}
