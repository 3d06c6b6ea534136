import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { PeerOptions } from '../../src/index.ts'
import { cleanup, type Ending } from '../support/cleanup.ts'

/** A peer that keeps a content and can stop as a machine does that hangs: its connections stay, and nothing comes over them. */
export interface StoppingPeer {
  /** From now on it does nothing. */
  stop(): void
}

/** Starts it; resolves when it keeps the content of the URL. It is killed when the test ends. */
export async function stoppingPeer(
  t: Ending,
  options: PeerOptions,
  url: string,
): Promise<StoppingPeer> {
  const child = fork(fileURLToPath(new URL('./stopping-child.js', import.meta.url)))
  cleanup(t, async () => {
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  })
  child.send({ options, url })
  await once(child, 'message')
  return { stop: () => void child.kill('SIGSTOP') }
}
