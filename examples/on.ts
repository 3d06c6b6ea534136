import { subscribe } from 'node:diagnostics_channel'
import type { HookMessages, HookName } from 'dragonfly-peer'

/** Listens to one of the library's channels, with the type that its messages have. A listener must not throw. */
export function on<N extends HookName>(name: N, call: (message: HookMessages[N]) => void): void {
  subscribe(name, (message) => call(message as HookMessages[N]))
}
