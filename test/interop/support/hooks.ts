import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { HookMessages, HookName } from '../../../src/index.ts'
import { cleanup, type Ending } from '../../support/cleanup.ts'

/** Collects what the peers in this process publish on a channel, until the test ends. */
export function heard<N extends HookName>(t: Ending, name: N): readonly HookMessages[N][] {
  const messages: HookMessages[N][] = []
  const listener = (message: unknown): void => void messages.push(message as HookMessages[N])
  subscribe(name, listener)
  cleanup(t, () => void unsubscribe(name, listener))
  return messages
}

/** Bytes that came from peers of a host, by the messages of `dragonfly-peer:piece:kept`. Ids of peers begin with the id of their host, but for `-seed`. */
export function bytesFrom(
  kept: readonly HookMessages['dragonfly-peer:piece:kept'][],
  task: string,
  hostId: string,
): number {
  const stem = hostId.replace(/-seed$/, '')
  return kept
    .filter((piece) => piece.task === task && piece.parent.startsWith(`${stem}-`))
    .reduce((sum, { length }) => sum + length, 0)
}

/** Bytes of a task that peers of ours sent to others, by the messages of `dragonfly-peer:piece:served`. */
export function bytesServed(
  served: readonly HookMessages['dragonfly-peer:piece:served'][],
  task: string,
): number {
  return served.filter((piece) => piece.task === task).reduce((sum, { length }) => sum + length, 0)
}
