import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { cleanup, type Ending } from '../support/cleanup.ts'

/** A running `store-child`. */
export interface StoreChild {
  readonly process: ChildProcess
  /** The next line it says; undefined when it has left. */
  next(): Promise<string | undefined>
  /** Kills it the hard way and waits for its end. */
  kill(): Promise<void>
  /** Waits for it to leave by itself; its exit code. */
  left(): Promise<number | null>
}

/** Starts another process with a disk store; it is killed at the end of the test. */
export function storeChild(
  t: Ending,
  work: 'open' | 'hold' | 'fill' | 'nobody' | 'starve' | 'rest',
  dir: string,
): StoreChild {
  const script = fileURLToPath(new URL('./store-child.js', import.meta.url))
  // A limit that this process could not raise again for itself.
  const limit = { starve: 'ulimit -n 100; ', rest: 'ulimit -n 60; ' }[work as string] ?? ''
  const command = `${limit}exec "$0" "$@"`
  const child = spawn('sh', ['-c', command, process.execPath, script, work, dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exit = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exit
  }
  cleanup(t, kill)
  return {
    process: child,
    next: async () => {
      const { value, done } = await lines.next()
      return done === true ? undefined : value
    },
    kill,
    left: async () => {
      await exit
      return child.exitCode
    },
  }
}
