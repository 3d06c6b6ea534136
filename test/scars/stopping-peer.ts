import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { PeerOptions } from '../../src/index.ts'
import { cleanup, type Ending } from '../support/cleanup.ts'

/**
 * What the process says: the peer has started, the first bytes are here, and everything is. `scheduler`: by which others join. `source`: bytes from the origin.
 * `blamed`: failed pieces and dropped parents.
 */
export type Told =
  | { readonly is: 'started'; readonly scheduler: string }
  | { readonly is: 'begun' }
  | { readonly is: 'kept'; readonly source: number; readonly blamed: number }

/** A peer that downloads, keeps and serves a content, and can stop as a machine does that hangs: its connections stay, and nothing comes over them. */
export interface StoppingPeer {
  /** From now on it does nothing. */
  stop(): void
  /** It goes on. */
  go(): void
  /** Resolves with the address by which others join, when the peer has started. */
  readonly started: Promise<string>
  /** Resolves when the first bytes are there. */
  readonly begun: Promise<void>
  /** Resolves when everything is. */
  readonly kept: Promise<Extract<Told, { is: 'kept' }>>
}

/** Starts it. It is killed when the test ends. */
export function stoppingPeer(t: Ending, options: PeerOptions, url: string): StoppingPeer {
  const child = fork(fileURLToPath(new URL('./stopping-child.js', import.meta.url)))
  cleanup(t, async () => {
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  })
  child.send({ options, url })
  const told = <K extends Told['is']>(is: K): Promise<Extract<Told, { is: K }>> =>
    new Promise((resolve) => {
      child.on('message', (message: Told) => {
        if (message.is === is) resolve(message as Extract<Told, { is: K }>)
      })
    })
  return {
    stop: () => void child.kill('SIGSTOP'),
    go: () => void child.kill('SIGCONT'),
    started: told('started').then(({ scheduler }) => scheduler),
    begun: told('begun').then(() => undefined),
    kept: told('kept'),
  }
}
