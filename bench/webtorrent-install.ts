import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from '../test/support/project-root.ts'

const folder = join(projectRoot(), 'bench')
/** Milliseconds; a network that lets nothing through would be waited for much longer. */
const installTimeoutMs = 120_000

/** Where webtorrent begins once it is installed. */
export const webtorrentEntry: string = join(folder, 'node_modules/webtorrent/index.js')

/** Installs webtorrent beside the benchmarks unless it is there, by their own lock file. Gives why it cannot be had; undefined: it is there. */
export function installWebtorrent(): string | undefined {
  if (existsSync(webtorrentEntry)) return undefined
  const args = ['ci', '--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund']
  const ran = spawnSync('npm', args, { encoding: 'utf8', timeout: installTimeoutMs })
  if (ran.status === 0 && existsSync(webtorrentEntry)) return undefined
  const why = ran.error?.message ?? ran.stderr.trim().split('\n').at(-1) ?? 'no reason was given'
  return `webtorrent cannot be installed here: ${why}`
}
