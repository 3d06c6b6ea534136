/**
 * Resident memory of peers that move a long file: one that publishes it and serves it, one that downloads it to disk from the first, and one that
 * downloads it to disk from an origin.
 *
 *   node build/bench/memory.js [--bytes 2147483648] [--json FILE]
 *
 * Linux only. Exits with 0 only if each stays within its limit.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Origin } from '../test/support/origin.ts'
import type { Answer, Order } from './memory-peer.ts'

const mebibyte = 1024 * 1024
/** The figure of the project, whatever the length of the file. */
const peakBytesMax = 128 * mebibyte

interface Result extends Answer {
  readonly what: string
  readonly peakBytesMax: number
}

const { values } = parseArgs({
  options: { bytes: { type: 'string', default: String(2 ** 31) }, json: { type: 'string' } },
})
const length = Number(values.bytes)
const folder = mkdtempSync(join(tmpdir(), 'dragonfly-peer-memory-'))
const origin = new Origin({ length })
const children: ChildProcess[] = []

try {
  await origin.listen()
  const results = [...(await fromPeer()), await fromOrigin()]
  for (const result of results) console.log(shown(result))
  if (values.json !== undefined) {
    const { version, platform, arch } = process
    const report = { benchmark: 'memory', version, platform, arch, length, results }
    writeFileSync(values.json, `${JSON.stringify(report, undefined, 2)}\n`)
  }
  process.exitCode = results.every(within) ? 0 : 1
} finally {
  for (const child of children) child.kill('SIGKILL')
  await origin.close()
  rmSync(folder, { recursive: true, force: true })
}

async function fromPeer(): Promise<Result[]> {
  const url = 'https://bench.invalid/file'
  const path = join(folder, 'published')
  await pipeline(origin.content.chunks(0, length, mebibyte), createWriteStream(path))
  const [publisher, reader] = [start(), start()]
  const idle = await ask(publisher, { is: 'start', options: { store: store('publisher') } })
  const { scheduler } = idle
  await ask(reader, { is: 'start', options: { scheduler, store: store('reader') } })
  await ask(publisher, { is: 'seed', url, path })
  const output = join(folder, 'from-peer')
  const download = { is: 'download', url, path: output, backToSource: 'never' } as const
  const read = await ask(reader, download)
  const served = await ask(publisher, { is: 'measure' })
  await close(reader)
  await close(publisher)
  for (const name of ['published', 'from-peer', 'reader']) remove(name)
  return [
    { what: 'a peer that does nothing', ...idle, seconds: 0, peakBytesMax },
    { what: 'download to disk from a peer', ...read, peakBytesMax },
    { what: 'publish a file and serve it', ...served, seconds: 0, peakBytesMax },
  ]
}

async function fromOrigin(): Promise<Result> {
  const reader = start()
  await ask(reader, { is: 'start', options: { store: store('alone') } })
  const path = join(folder, 'from-origin')
  const { url } = origin
  const read = await ask(reader, { is: 'download', url, path, backToSource: 'allow' })
  await close(reader)
  return {
    what: 'download to disk from an origin',
    ...read,
    // Not reached today: DESIGN.md, "What a peer weighs", says what stands in the way.
    peakBytesMax,
  }
}

function shown(result: Result): string {
  const { what, peakBytes, seconds, cpuSeconds } = result
  const mebibytes = (peakBytes / mebibyte).toFixed(1).padStart(6)
  const max = `${within(result) ? 'within' : 'ABOVE'} ${result.peakBytesMax / mebibyte}`
  const speed = seconds === 0 ? '' : `, ${(length / seconds / 1e6).toFixed(0)} MB/s`
  return `${what.padEnd(32)}${mebibytes} MiB (${max})${speed}, ${cpuSeconds.toFixed(1)} s of processor time`
}

function within({ peakBytes, peakBytesMax: max }: Result): boolean {
  return peakBytes <= max
}

function store(name: string): { readonly dir: string } {
  return { dir: join(folder, name) }
}

function remove(name: string): void {
  rmSync(join(folder, name), { recursive: true })
}

function start(): ChildProcess {
  const child = fork(fileURLToPath(new URL('./memory-peer.js', import.meta.url)))
  children.push(child)
  return child
}

async function ask(child: ChildProcess, order: Order): Promise<Answer> {
  const ended = once(child, 'exit').then((how) => {
    throw new Error(`A peer ended: ${how.join(' ')}`)
  })
  const answered = once(child, 'message')
  child.send(order)
  const [answer] = await Promise.race([answered, ended])
  return answer as Answer
}

async function close(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit')
  const order: Order = { is: 'close' }
  child.send(order)
  await exited
}
