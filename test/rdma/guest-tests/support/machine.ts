import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { until } from '../../../transport/until.ts'
import { cleanup, type Ending } from '../../../support/cleanup.ts'

/** The two ends of the guest's cable, as `test/rdma/guest/init.sh` makes them. */
export const ends = {
  parent: { device: 'rxe0', link: 'rdma0', ip: '10.77.0.1' },
  child: { device: 'rxe1', link: 'rdma1', ip: '10.77.0.2' },
} as const

/** Of the addresses of each port the RoCE v2 one that is an IPv4 address. */
export const gidIndex = 1

/**
 * How many times longer work takes on the emulated processor, at most: 8 to 25 times was seen. Times that a test bounds are multiplied by it.
 */
export const slowness = 15

/** The same for what mostly waits for timers. */
export const timerSlowness = 3

/** Takes one end off the network, and back at the end of the test. */
export function unplug(t: Ending, link: string): void {
  execFileSync('ip', ['link', 'set', link, 'down'])
  cleanup(t, () => plugIn(link))
}

/** Takes it back to the network. Doing so twice does nothing. */
export async function plugIn(link: string): Promise<void> {
  execFileSync('ip', ['link', 'set', link, 'up'])
  // Routes and neighbours went with the link. Those of the other end are still there and refused, and the list goes on.
  const lines = readFileSync('/run/ip', 'utf8').split('\n')
  const input = lines.filter((line) => /^(neigh|route) /.test(line)).join('\n')
  spawnSync('ip', ['-force', '-batch', '-'], { input })
  await until('both ports are active', () => Object.values(ends).every(isActive))
}

function isActive({ device }: { readonly device: string }): boolean {
  const state = readFileSync(`/sys/class/infiniband/${device}/ports/1/state`, 'utf8')
  return state.includes('ACTIVE')
}

/** Every packet out of this link is lost with this probability until the end of the test. */
export function lose(t: Ending, link: string, percent: number): void {
  execFileSync('modprobe', ['sch_netem'])
  execFileSync('tc', ['qdisc', 'add', 'dev', link, 'root', 'netem', 'loss', `${percent}%`])
  cleanup(t, () => {
    execFileSync('tc', ['qdisc', 'del', 'dev', link, 'root'])
  })
}

/** Packets that `lose()` has lost so far on this link. */
export function lost(link: string): number {
  const text = execFileSync('tc', ['-s', 'qdisc', 'show', 'dev', link], { encoding: 'utf8' })
  return Number(/dropped (\d+)/.exec(text)?.[1])
}
