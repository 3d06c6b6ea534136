/**
 * A log of what peers of this process do. The library itself never logs: it publishes on `node:diagnostics_channel`, and whoever listens writes.
 *
 *   node build/examples/log.js [URL]
 */
import { type HookName, Peer } from 'dragonfly-peer'
import { input } from './input.ts'
import { on } from './on.ts'

/** One line of JSON for each event: what log collectors take. */
function log(names: readonly HookName[]): void {
  for (const name of names) {
    on(name, (message) => {
      const [, about, what] = name.split(':')
      console.log(JSON.stringify({ at: new Date().toISOString(), about, what, ...message }))
    })
  }
}

log([
  'dragonfly-peer:task:started',
  'dragonfly-peer:task:finished',
  'dragonfly-peer:task:failed',
  'dragonfly-peer:piece:failed',
  'dragonfly-peer:parent:dropped',
  'dragonfly-peer:transport:fallback',
  'dragonfly-peer:source:request',
  'dragonfly-peer:scheduler:lost',
  'dragonfly-peer:store:dropped',
])

await using peer = await Peer.start({ store: 'memory' }) // nothing is left from the last time
await peer.download(input).done
