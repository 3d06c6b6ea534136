import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect as connectTo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { loadAddon } from '../../../src/transport/rdma/addon.ts'
import type {
  NativeContext,
  NativeDomain,
  NativeEvent,
  NativeQueuePair,
  NativeRdma,
  NativeRegistration,
  NativeRemote,
} from '../../../src/transport/rdma/native.ts'
import { softverbs } from '../../support/native-build.ts'

/** A device of the real kernel, as in `RDMA_DEV=rxe0`; without it the tests run on softverbs. */
export const realDevice: string | undefined = process.env['RDMA_DEV']

export const device: string = realDevice ?? 'soft0'
export const gidIndex: number = Number(process.env['RDMA_GID'] ?? 1)

/** The device that the other end of a connection is on. */
export const otherDevice: string = process.env['RDMA_OTHER_DEV'] ?? device

/** Real verbs run in an emulated machine, twenty times slower. */
export const slowness: number = realDevice === undefined ? 1 : 20

export const MiB: number = 2 ** 20

/** The addon, with a verbs library. */
export function nativeRdma(): NativeRdma {
  const folder = process.env['RDMA_ADDON_FOLDER']
  const addon = loadAddon(folder === undefined ? {} : { folder })
  assert.ok('native' in addon, 'reason' in addon ? addon.reason : '')
  if (realDevice === undefined) prepareControl()
  // `RDMA_LIB` is for softverbs of another machine, run by an emulator.
  const soft = (): string => process.env['RDMA_LIB'] ?? softverbs()
  addon.native.load(realDevice === undefined ? soft() : 'libibverbs.so.1')
  return addon.native
}

/** An open port that collects what it hears. */
export interface OpenPort {
  readonly context: NativeContext
  readonly events: NativeEvent[]
}

export async function openPort(native: NativeRdma, name: string = device): Promise<OpenPort> {
  const events: NativeEvent[] = []
  const onEvent = (event: NativeEvent): void => void events.push(event)
  return { context: await native.open({ device: name, port: 1, gidIndex, onEvent }), events }
}

/** How the other side reaches a queue pair. */
export function endOf(context: NativeContext, queuePair: NativeQueuePair): NativeRemote {
  const { lid, gid, mtu, readsOutMax, readsInMax } = context
  return {
    num: queuePair.number,
    lid,
    gid,
    mtu,
    readsOut: readsOutMax,
    readsIn: readsInMax,
    timeout: 14,
    retries: 3,
  }
}

/** A child and a parent in one process, connected, each in a domain of its own, with memory of its own. */
export interface Pair {
  readonly child: Side & { readonly into: NativeRegistration }
  readonly parent: Side & { readonly from: NativeRegistration }
  /** Reads from the same offset of the parent's memory; options override. */
  read(offset: number, byteLength: number, options?: { readonly key?: number }): Promise<void>
}

export interface Side {
  readonly context: NativeContext
  readonly domain: NativeDomain
  readonly queuePair: NativeQueuePair
  readonly memory: Uint8Array<ArrayBuffer>
}

export async function connectedPair(
  native: NativeRdma,
  childPort: NativeContext,
  parentPort: NativeContext = childPort,
  { bytes = 4 * MiB, readsMax = 16 }: { readonly bytes?: number; readonly readsMax?: number } = {},
): Promise<Pair> {
  const child = await side(native, childPort, bytes, { readsMax, remoteRead: false })
  const parent = await side(native, parentPort, bytes, { readsMax: 1, remoteRead: true })
  fill(parent.memory)
  const into = await native.register(child.domain, child.memory.buffer, 0, bytes, 'local')
  const from = await native.register(parent.domain, parent.memory.buffer, 0, bytes, 'remoteRead')
  await native.connect(parent.queuePair, endOf(childPort, child.queuePair))
  await native.connect(child.queuePair, endOf(parentPort, parent.queuePair))
  return {
    child: { ...child, into },
    parent: { ...parent, from },
    read: (offset, byteLength, { key = from.remoteKey } = {}) =>
      native.read(
        child.queuePair,
        { registration: into, offset, byteLength },
        { address: from.address + BigInt(offset), key },
      ),
  }
}

async function side(
  native: NativeRdma,
  context: NativeContext,
  bytes: number,
  options: { readonly readsMax: number; readonly remoteRead: boolean },
): Promise<Side> {
  const domain = await native.domain(context)
  const queuePair = await native.queuePair(domain, options)
  return { context, domain, queuePair, memory: new Uint8Array(await native.allocate(bytes)) }
}

/** Bytes that differ at each place, so that a shift shows. */
export function fill(memory: Uint8Array<ArrayBuffer>): void {
  const words = new Uint32Array(memory.buffer, memory.byteOffset, memory.byteLength >>> 2)
  for (let at = 0; at < words.length; at += 1) words[at] = Math.imul(at + 1, 2_654_435_761)
}

/** How a promise ended: `'done'`, or code and status of its error. */
export async function outcome(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'done'
  } catch (error) {
    const { code, status, errno } = error as { code?: string; status?: number; errno?: number }
    return [code ?? String(error), status ?? errno].filter((part) => part !== undefined).join(' ')
  }
}

export function outcomes(promises: readonly Promise<unknown>[]): Promise<readonly string[]> {
  return Promise.all(promises.map(outcome))
}

/** What is alive, without the memory. */
export function liveObjects(native: NativeRdma): readonly number[] {
  const { contexts, domains, registrations, queuePairs } = native.stats().live
  return [contexts, domains, registrations, queuePairs]
}

/** Waits for a fact that no promise tells. */
export async function until(fact: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = Date.now() + 10_000 * slowness
  while (!(await fact())) {
    assert.ok(Date.now() < end, `Waited too long: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Collects garbage, and lets finalizers run. */
export async function collect(): Promise<void> {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  for (let round = 0; round < 3; round += 1) {
    gc()
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Before the library is opened: it reads the environment then. Processes and workers that are started later inherit it. */
function prepareControl(): void {
  if (process.env['SOFTVERBS_CONTROL'] !== undefined) return
  const folder = mkdtempSync(join(tmpdir(), 'softverbs-'))
  process.env['SOFTVERBS_CONTROL'] = folder
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
}

/** Gives softverbs of a process an order (native/test/softverbs/control.c); gives the answer. */
export async function order(line: string, processId: number = process.pid): Promise<string> {
  const path = join(process.env['SOFTVERBS_CONTROL'] ?? '', `${processId}.sock`)
  const socket = connectTo(path)
  try {
    socket.write(`${line}\n`)
    for await (const answer of createInterface({ input: socket })) return answer
    throw new Error(`No answer to ${line}`)
  } finally {
    socket.destroy()
  }
}

/** The same, where it must be understood. */
export async function orders(...lines: readonly string[]): Promise<void> {
  for (const line of lines) assert.equal(await order(line), 'ok', line)
}
