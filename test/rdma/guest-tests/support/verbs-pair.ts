import assert from 'node:assert/strict'
import type {
  NativeContext,
  NativeDomain,
  NativeEvent,
  NativeQueuePair,
  NativeRegistration,
  NativeRemote,
} from '../../../../src/transport/rdma/native.ts'
import { cleanup, type Ending } from '../../../support/cleanup.ts'
import { Content } from '../../../support/content.ts'
import { Far } from './far.ts'
import { ends, gidIndex } from './machine.ts'
import { nativeRdma } from './native-rdma.ts'
import type { VerbsCommands } from './verbs-end.ts'

/** Bytes that the other process registers. */
export const farBytes: number = 16 * 1024 * 1024
/** READs that are on their way at a time. */
export const window = 16

/** 4.096 µs × 2^14 = 67 ms before a packet is sent again, at most six times: a dead end is noticed after half a second. */
const patience = { timeout: 14, retries: 6 } as const

const native = nativeRdma()

/** Memory of this process, and a queue pair to the memory of another one, at the other end of the cable. */
export class VerbsPair {
  readonly far: Far<VerbsCommands>
  /** What the other process has in its memory. */
  readonly content: Content = new Content(farBytes, 77)
  /** What was heard about the device of this process. */
  readonly events: NativeEvent[] = []
  readonly #memory: ArrayBuffer
  #context: NativeContext | undefined
  #domain: NativeDomain | undefined
  #registration: NativeRegistration | undefined
  #queuePair: NativeQueuePair | undefined
  #there: VerbsCommands['open']['answer'] | undefined

  private constructor(far: Far<VerbsCommands>, memory: ArrayBuffer) {
    this.far = far
    this.#memory = memory
  }

  /** Opens both ends and connects them. */
  static async open(t: Ending): Promise<VerbsPair> {
    const far = new Far<VerbsCommands>(t, new URL('./verbs-end.js', import.meta.url))
    const pair = new VerbsPair(far, await native.allocate(farBytes))
    cleanup(t, async () => {
      if (pair.#context !== undefined) await native.close(pair.#context)
      const { contexts, domains, registrations, queuePairs } = native.stats().live
      assert.deepEqual([contexts, domains, registrations, queuePairs], [0, 0, 0, 0])
    })
    const { device } = ends.child
    const onEvent = (event: NativeEvent): void => void pair.events.push(event)
    pair.#context = await native.open({ device, port: 1, gidIndex, onEvent })
    pair.#domain = await native.domain(pair.#context)
    pair.#registration = await native.register(pair.#domain, pair.#memory, 0, farBytes, 'local')
    const ask = { device: ends.parent.device, byteLength: farBytes, seed: pair.content.seed }
    pair.#there = await far.ask('open', ask)
    await pair.connect()
    return pair
  }

  /** A new connection in place of the one that may be there. */
  async connect(): Promise<void> {
    const { context, domain, there } = this.#parts()
    if (this.#queuePair !== undefined) {
      await native.abort(this.#queuePair)
      await native.freeQueuePair(this.#queuePair)
    }
    this.#queuePair = await native.queuePair(domain, { readsMax: 64, remoteRead: false })
    const { lid, gid, mtu, readsOutMax: readsOut, readsInMax: readsIn } = context
    const own: NativeRemote = {
      ...{ num: this.#queuePair.number, lid, gid, mtu, readsIn, ...patience },
      readsOut: Math.min(readsOut, there.port.readsIn),
    }
    const num = await this.far.ask('connect', own)
    await native.connect(this.#queuePair, { num, ...there.port, ...patience })
  }

  /** Reads this part of the other process's memory to the same place here. */
  async read(offset: number, byteLength: number): Promise<void> {
    const { registration, queuePair, there } = this.#parts()
    const from = { address: there.address + BigInt(offset), key: there.key }
    await native.read(queuePair, { registration, offset, byteLength }, from)
  }

  /** Reads everything in parts of this length, and compares every byte. */
  async readAll(partBytes: number): Promise<void> {
    const parts = Math.ceil(farBytes / partBytes)
    let next = 0
    const worker = async (): Promise<void> => {
      while (next < parts) {
        const offset = next++ * partBytes
        await this.read(offset, Math.min(partBytes, farBytes - offset))
      }
    }
    new Uint8Array(this.#memory).fill(0)
    await Promise.all(Array.from({ length: window }, worker))
    const at = this.content.difference(new Uint8Array(this.#memory), 0)
    assert.equal(at, undefined, `Content differs at byte ${at}`)
  }

  #parts() {
    const [context, domain, registration] = [this.#context, this.#domain, this.#registration]
    const [queuePair, there] = [this.#queuePair, this.#there]
    assert.ok(context !== undefined && domain !== undefined && there !== undefined)
    assert.ok(registration !== undefined)
    return { context, domain, there, registration, queuePair: queuePair as NativeQueuePair }
  }
}
