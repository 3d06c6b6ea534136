import { type Channel, channel } from 'node:diagnostics_channel'
import type { ErrorCode } from './errors.ts'

/**
 * Everything that can be watched, as `node:diagnostics_channel` channels. Publishing costs a few nanoseconds without a subscriber.
 * No message holds a credential or a query string. `docs/hooks.md` lists the channels; `examples/` subscribes to them.
 */
export interface HookMessages {
  /** A download, seed or write began. */
  'dragonfly-peer:task:started': { readonly task: string; readonly contentLength?: number }
  /** It ended well. */
  'dragonfly-peer:task:finished': {
    readonly task: string
    readonly contentLength: number
    readonly sourceBytes: number
    readonly peerBytes: number
    readonly tookMs: number
  }
  /** It ended with an error or was cancelled. */
  'dragonfly-peer:task:failed': { readonly task: string; readonly code: ErrorCode | 'ABORTED' }
  /** A piece was fetched, checked and kept. */
  'dragonfly-peer:piece:kept': {
    readonly task: string
    readonly number: number
    readonly length: number
    readonly parent: string
    readonly traffic: 'source' | 'peer'
    readonly costMs: number
    readonly transport?: string
  }
  /** A piece could not be fetched from this parent; another one is asked. */
  'dragonfly-peer:piece:failed': {
    readonly task: string
    readonly number: number
    readonly parent: string
    readonly code: ErrorCode
  }
  /** A piece was sent to another peer. */
  'dragonfly-peer:piece:served': {
    readonly task: string
    readonly number: number
    readonly length: number
    readonly transport: string
  }
  /** A parent is not asked any more in this download. */
  'dragonfly-peer:parent:dropped': {
    readonly task: string
    readonly parent: string
    readonly code: ErrorCode | 'ENDED'
  }
  /** A piece goes on over another transport. */
  'dragonfly-peer:transport:fallback': {
    readonly parent: string
    readonly from: string
    readonly to: string
    readonly reason: string
  }
  /** A transport can be used from now on, or cannot any more: its device came, went, or was never there. */
  'dragonfly-peer:transport:changed': {
    readonly transport: string
    readonly usable: boolean
    readonly reason: string
  }
  /** A request went to an origin. The URL has no user info and no query values. */
  'dragonfly-peer:source:request': {
    readonly url: string
    readonly offset: number
    readonly length?: number
    readonly status?: number
    readonly attempt: number
  }
  /** The scheduler answered again after it had been lost, or was found first. */
  'dragonfly-peer:scheduler:found': { readonly address: string }
  /** The scheduler cannot be reached; work goes on without it. */
  'dragonfly-peer:scheduler:lost': { readonly address: string; readonly reason: string }
  /** A task was dropped from the store. */
  'dragonfly-peer:store:dropped': {
    readonly task: string
    readonly bytes: number
    readonly why: 'ttl' | 'usage' | 'deleted' | 'damaged'
  }
}

/** Name of a channel. */
export type HookName = keyof HookMessages

const names: { readonly [N in HookName]: true } = {
  'dragonfly-peer:task:started': true,
  'dragonfly-peer:task:finished': true,
  'dragonfly-peer:task:failed': true,
  'dragonfly-peer:piece:kept': true,
  'dragonfly-peer:piece:failed': true,
  'dragonfly-peer:piece:served': true,
  'dragonfly-peer:parent:dropped': true,
  'dragonfly-peer:transport:fallback': true,
  'dragonfly-peer:transport:changed': true,
  'dragonfly-peer:source:request': true,
  'dragonfly-peer:scheduler:found': true,
  'dragonfly-peer:scheduler:lost': true,
  'dragonfly-peer:store:dropped': true,
}

/**
 * All of them, for as long as the process lives. Node.js holds a channel without subscribers weakly, and Node.js 20 forgets the subscribers of a channel when an earlier
 * one of the same name is collected.
 */
const channels = Object.fromEntries(Object.keys(names).map((name) => [name, channel(name)])) as {
  readonly [N in HookName]: Channel
}

/**
 * Publishes on a channel. The message is made only when somebody listens.
 */
export function publish<N extends HookName>(name: N, message: () => HookMessages[N]): void {
  const target = channels[name]
  if (target.hasSubscribers) target.publish(message())
}
