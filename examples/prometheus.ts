/**
 * Metrics in the Prometheus text format, counted from the library's channels and served over HTTP.
 *
 *   node build/examples/prometheus.js [URL]
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Peer } from 'dragonfly-peer'
import { input } from './input.ts'
import { on } from './on.ts'

const counters = new Map<string, number>()
function count(name: string, by = 1): void {
  counters.set(name, (counters.get(name) ?? 0) + by)
}

on('dragonfly-peer:task:finished', () => count('tasks_total{end="finished"}'))
on('dragonfly-peer:task:failed', ({ code }) => count(`tasks_total{end="${code}"}`))
on('dragonfly-peer:piece:kept', ({ length, traffic, costMs }) => {
  count(`received_bytes_total{from="${traffic}"}`, length)
  count('piece_seconds_sum', costMs / 1000)
  count('piece_seconds_count')
})
on('dragonfly-peer:piece:failed', ({ code }) => count(`piece_failures_total{code="${code}"}`))
on('dragonfly-peer:piece:served', ({ length, transport }) => {
  count(`served_bytes_total{transport="${transport}"}`, length)
})

const server = createServer((_request, response) => {
  const lines = [...counters].map(([name, value]) => `dragonfly_peer_${name} ${value}\n`)
  response.setHeader('content-type', 'text/plain; version=0.0.4').end(lines.sort().join(''))
}).listen(0, '127.0.0.1')
await once(server, 'listening')
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`

await using peer = await Peer.start({ store: 'memory' }) // nothing is left from the last time
await peer.download(input).done
console.log(await (await fetch(url)).text())
server.close()
