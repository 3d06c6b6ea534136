/**
 * Traces for OpenTelemetry: a span for each download with a span for each piece below it, as OTLP/JSON. It is what a collector takes at `/v1/traces`.
 *
 *   node build/examples/tracing.js [URL] | curl -d @- -H content-type:application/json http://localhost:4318/v1/traces
 */
import { randomBytes } from 'node:crypto'
import { Peer } from 'dragonfly-peer'
import { input } from './input.ts'
import { on } from './on.ts'

const spans: object[] = []
const traces = new Map<string, { traceId: string; spanId: string }>()
const id = (bytes: number): string => randomBytes(bytes).toString('hex')

function ended(name: string, tookMs: number, ids: object, facts: Record<string, unknown>): void {
  const endTimeUnixNano = `${Date.now()}000000`
  const startTimeUnixNano = `${Math.round(Date.now() - tookMs)}000000`
  spans.push({ name, kind: 1, startTimeUnixNano, endTimeUnixNano, ...ids, attributes: list(facts) })
}

function list(facts: Record<string, unknown>): object[] {
  return Object.entries(facts).map(([key, fact]) => ({ key, value: { stringValue: String(fact) } }))
}

on('dragonfly-peer:task:started', ({ task }) =>
  traces.set(task, { traceId: id(16), spanId: id(8) }),
)
on('dragonfly-peer:piece:kept', ({ costMs, ...facts }) => {
  const { traceId, spanId: parentSpanId } = traces.get(facts.task) ?? {}
  ended('piece', costMs, { traceId, spanId: id(8), parentSpanId }, facts)
})
on('dragonfly-peer:task:finished', ({ tookMs, ...facts }) => {
  ended('download', tookMs, traces.get(facts.task) ?? {}, facts)
})

await using peer = await Peer.start({ store: 'memory' }) // nothing is left from the last time
await peer.download(input).done
const resource = { attributes: list({ 'service.name': 'dragonfly-peer-example' }) }
const scopeSpans = [{ scope: { name: 'dragonfly-peer' }, spans }]
console.log(JSON.stringify({ resourceSpans: [{ resource, scopeSpans }] }))
