import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { HookMessages, HookName } from '../../src/hooks.ts'
import { type Peer, http, type Source } from '../../src/index.ts'

export const mib: number = 1024 * 1024
export const limit: { readonly timeout: number } = { timeout: 30_000 }

/** The built-in source without patience: a test of what happens when it is used up shall not wait for it. */
export function hasty(): readonly Source[] {
  return [http({ retriesMax: 0 })]
}

/** Collects what is published on a channel while the test runs. */
export function collected<N extends HookName>(t: TestContext, name: N): HookMessages[N][] {
  const seen: HookMessages[N][] = []
  const note = (message: unknown): void => {
    seen.push(message as HookMessages[N])
  }
  subscribe(name, note)
  t.after(() => unsubscribe(name, note))
  return seen
}

/** Tasks that lie in the stores of a peer. */
export function keptBy(peer: Peer): number {
  const { stores } = peer.explain() as { stores: readonly { readonly tasks: number }[] }
  return stores.reduce((sum, { tasks }) => sum + tasks, 0)
}

/** Files of content in a store folder. */
export function contentFiles(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /^[0-9a-f]{64}/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
}
