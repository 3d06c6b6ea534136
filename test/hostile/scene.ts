import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Peer } from '../../src/index.ts'
import { cleanup } from '../support/cleanup.ts'
import { type Origin, origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyBytes } from '../support/verify.ts'
import { Attack, type Place } from './attacks.ts'

const mib = 1024 * 1024
/** Two pieces. */
const contentBytes = 5 * mib

/** A peer that is attacked, in a process of its own, and one that only wants to download from it. */
export interface Scene {
  readonly attack: Attack
  readonly places: Readonly<Record<'pieces' | 'upload' | 'scheduler' | 'socket', Place>>
  /** Id of the task that the victim holds. */
  readonly task: string
  /** What the victim holds now. */
  figures(): { readonly residentBytes: number; readonly descriptors: number }
  /** A peer that comes now downloads everything from the victim, through all of its ports, and compares each byte. */
  serves(): Promise<void>
}

/** Sets it up. Everything is gone at the end of the test. @param stallTimeoutMs - of the victim's TCP transport */
export async function scene(t: TestContext, stallTimeoutMs = 1000): Promise<Scene> {
  const from = await origin(t, { length: contentBytes })
  const folder = tempFolder(t)
  const socketPath = join(folder, 'p.sock')
  const args = { url: from.url, dir: join(folder, 'store'), socketPath, stallTimeoutMs }
  const victim = fork(fileURLToPath(new URL('./victim.js', import.meta.url)), [
    JSON.stringify(args),
  ])
  cleanup(t, () => gone(victim))
  const [told] = (await once(victim, 'message')) as [
    { scheduler: string; address: string; tcpPort: number; task: string },
  ]
  const attack = new Attack()
  cleanup(t, () => attack.end())
  return {
    attack,
    places: {
      pieces: { host: '127.0.0.1', port: told.tcpPort },
      upload: placeOf(told.address),
      scheduler: placeOf(told.scheduler),
      socket: { path: socketPath },
    },
    task: told.task,
    figures: () => figuresOf(victim),
    serves: () => serves(told.scheduler, from),
  }
}

async function serves(scheduler: string, from: Origin): Promise<void> {
  const sent = from.counts.bytes
  const peer = await Peer.start({ scheduler, store: 'memory' })
  try {
    const download = peer.download(from.url, { backToSource: 'never' })
    verifyBytes(await download.bytes(), from.content)
  } finally {
    await peer.destroy()
  }
  if (from.counts.bytes !== sent) throw new Error('The origin had to help')
}

async function gone(victim: ChildProcess): Promise<void> {
  if (victim.exitCode !== null || victim.signalCode !== null) {
    throw new Error(`The victim ended by itself: ${victim.exitCode ?? victim.signalCode}`)
  }
  const exited = once(victim, 'exit')
  victim.kill('SIGKILL')
  await exited
}

function figuresOf({ pid = 0 }: ChildProcess): ReturnType<Scene['figures']> {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return {
    residentBytes: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  }
}

function placeOf(address: string): Place {
  const at = address.lastIndexOf(':')
  return { host: address.slice(0, at), port: Number(address.slice(at + 1)) }
}
