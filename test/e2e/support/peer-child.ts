/** A process with one peer that does what a test tells it, over the channel of `fork()`. */
import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { Peer, PeerError } from '../../../src/index.ts'
import { leaks } from '../../support/leaks.ts'
import { sha256OfFile } from '../../support/verify.ts'
import type { Asked, CommandName, Commands, Told } from './command.ts'

type Acts = {
  readonly [N in CommandName]: (
    ask: Commands[N]['ask'],
    number: number,
  ) => Promise<Commands[N]['answer']>
}

let started: Peer | undefined
/** What looks for leaks when the peer is closed. */
const atEnd: (() => Promise<void> | void)[] = []

const acts: Acts = {
  async start({ options }) {
    leaks({ after: (check) => void atEnd.push(check) })
    started = await Peer.start(options)
    const { address, hostId, schedulerAddress } = started
    return { address, hostId, schedulerAddress }
  },
  async download({ target, path, options }, number) {
    const download = peer().download(target, {
      ...options,
      onProgress: ({ bytes }) => tell({ is: 'progress', number, bytes }),
    })
    if (path === undefined) {
      const bytes = await download.bytes()
      const sha256 = createHash('sha256').update(bytes).digest('hex')
      return { info: await download.done, sha256, length: bytes.length }
    }
    const info = await download.toFile(path)
    return { info, sha256: await sha256OfFile(path), length: statSync(path).size }
  },
  async keep({ target, options }) {
    return peer().download(target, options).done
  },
  async write({ path, options }) {
    return peer().write(path, options)
  },
  async seed({ path, options }) {
    return (await peer().seed(path, options)).task
  },
  async explain() {
    return peer().explain()
  },
  async memory() {
    const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))
    return { peakBytes: Number(peak?.[1]) * 1024 }
  },
  async close() {
    await peer().close()
    started = undefined
    for (const check of atEnd.splice(0)) await check()
    return {}
  },
}

function peer(): Peer {
  if (started === undefined) throw new Error('No peer was started')
  return started
}

function tell(told: Told): void {
  if (process.connected) process.send?.(told)
}

async function run<N extends CommandName>(
  number: number,
  name: N,
  ask: Commands[N]['ask'],
): Promise<void> {
  try {
    tell({ is: 'answer', number, answer: await acts[name](ask, number) })
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
    const code = PeerError.is(error) ? error.code : error instanceof Error ? error.name : 'unknown'
    tell({ is: 'error', number, code, message })
  }
  if (name !== 'close') return
  process.off('disconnect', abandoned)
  process.disconnect()
}

/** The test is gone: nobody else would end this process. */
function abandoned(): never {
  process.exit(1)
}

process.once('disconnect', abandoned)
process.on('message', ({ number, name, ask }: Asked) => {
  void run(number, name, ask)
})
