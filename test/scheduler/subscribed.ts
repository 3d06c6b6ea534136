import { channel } from 'node:diagnostics_channel'
import type { TestContext } from 'node:test'

import type { HookMessages, HookName } from '../../src/hooks.ts'

/** Everything that is published on a channel until the test ends. */
export function subscribed<N extends HookName>(
  t: TestContext,
  name: N,
): readonly HookMessages[N][] {
  const messages: HookMessages[N][] = []
  const listener = (message: unknown): void => {
    messages.push(message as HookMessages[N])
  }
  channel(name).subscribe(listener)
  t.after(() => channel(name).unsubscribe(listener))
  return messages
}
