/** The same job done by other programs: one parent has a file, a child writes it to the disk. All in turn, on one network of the real scheduler. */
import { whyNot } from '../test/interop/support/binaries.ts'
import type { Benchmark, Row, Settings } from './benchmark.ts'
import { DragonflyPair } from './dragonfly-pair.ts'
import { Endings } from './endings.ts'
import { interleaved, type Sample } from './interleaved.ts'
import { ran, Served, type Transferred } from './reference.ts'
import { sourceFile } from './source-file.ts'
import { gibibyte, mebibyte, notQuick } from './statistics.ts'
import { Swarm } from './swarm.ts'
import { TorrentPair } from './torrent-pair.ts'
import { transferRows } from './transfer-rows.ts'
import { installWebtorrent } from './webtorrent-install.ts'
import { join } from 'node:path'
import { rmSync } from 'node:fs'

const length = { thorough: 2 * gibibyte, quick: 32 * mebibyte }
const name = 'one parent to a file'

/** Ours, `dfdaemon` with `dfget`, webtorrent, C. */
export const programs: Benchmark = {
  name: 'programs',
  about: 'one parent to a file, beside the real dfdaemon with dfget, webtorrent and C',
  run: async (settings) => {
    const bytes = settings.bytes ?? (settings.quick ? length.quick : length.thorough)
    const source = sourceFile(settings, bytes)
    await using endings = new Endings()
    await using origin = await Served.start('origin', [source])
    const noDragonfly = whyNot()
    const pair =
      noDragonfly === undefined ? await DragonflyPair.start(endings, origin, source) : undefined
    const noTorrent = settings.quick ? notQuick : installWebtorrent()
    await using torrents =
      noTorrent === undefined ? await TorrentPair.start(settings.folder, source) : undefined
    await using swarm = await Swarm.start(settings, {
      parents: 1,
      source,
      ...(pair === undefined ? {} : { scheduler: pair.scheduler }),
    })
    const { ours, dragonfly, torrent, c } = await interleaved(settings, {
      ours: async () => swarm.download('file'),
      dragonfly: pair === undefined ? undefined : async () => pair.download(),
      torrent: torrents === undefined ? undefined : async () => torrents.download(),
      c: async () => plain(settings, source),
    })
    return [
      ...rowsOf('dfdaemon + dfget', ours, dragonfly, noDragonfly),
      ...rowsOf('webtorrent', ours, torrent, noTorrent),
      ...rowsOf('C', ours, c, undefined),
    ]
  },
}

function rowsOf(
  reference: string,
  ours: readonly Sample[],
  theirs: readonly Sample[],
  whyNone: string | undefined,
): Row[] {
  const isDragonfly = reference.startsWith('dfdaemon')
  return transferRows({
    name: `${name}, beside ${reference}`,
    reference,
    ours: ours.map(({ turnMs: _, ...each }) => each),
    theirs,
    ...(isDragonfly
      ? { goal: { is: 'at least', ratio: 1 }, cpuGoal: { is: 'at most', ratio: 1 } }
      : {}),
    ...(whyNone === undefined ? {} : { note: `not compared: ${whyNone}` }),
  })
}

async function plain({ folder }: Settings, source: string): Promise<Sample> {
  const target = join(folder, 'c-output')
  const args = [source, 'to-file', target]
  const { childPeakBytes, ...sample } = await ran<Transferred>('transfer', args)
  rmSync(target)
  return { ...sample, peakBytes: childPeakBytes }
}
