import { chmodSync, closeSync, existsSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { PeerError } from '../../src/errors.ts'
import { DiskStore } from '../../src/storage/disk-store.ts'
import type { KeptTask } from '../../src/storage/store.ts'
import { fill, never, readPiece } from '../storage/filling.ts'
import { type Item, storeBytesMax, storeItems } from './items.ts'
import type { Random } from './random.ts'
import { Wrong } from './wrong.ts'

/** Times that a life opens its store. */
const rounds = 3
/** Works between two restarts. */
const worksPerRound = 10
/** Works at a time. */
const worksAtOnce = 3

/** How the lives of a store open it: tiny, and with a collection that is always about to run. */
export function openStore(root: string): Promise<DiskStore> {
  return DiskStore.open({ dir: join(root, 'store'), bytesMax: storeBytesMax, gcIntervalMs: 25 })
}

/** What a process does with a store: everything, in an order that chance decides. */
export class StoreLife {
  readonly #root: string
  readonly #random: Random
  readonly #believing: boolean
  #store: DiskStore | undefined

  /** @param believing - what was kept must be good; false where writes get lost on purpose */
  constructor(root: string, random: Random, believing: boolean) {
    this.#root = root
    this.#random = random
    this.#believing = believing
  }

  /** Lives to the end, unless it is killed before. */
  async run(onOpen: () => void): Promise<void> {
    this.#store = await openStore(this.#root)
    onOpen()
    // What an earlier life has left is looked at by a fresh process: this one.
    for (const item of storeItems) await this.#read(item)
    for (let round = 0; round < rounds; round++) {
      if (round > 0) await this.#restart()
      let left = worksPerRound
      const next = async (): Promise<void> => {
        while (left-- > 0) await this.#work()
      }
      await Promise.all(Array.from({ length: worksAtOnce }, next))
    }
    await this.#opened.close()
  }

  get #opened(): DiskStore {
    if (this.#store === undefined) throw new Error('The store is not open')
    return this.#store
  }

  async #restart(): Promise<void> {
    await this.#opened.close()
    this.#store = await openStore(this.#root)
  }

  async #work(): Promise<void> {
    const item = this.#random.of(storeItems)
    const works = [
      ...Array.from({ length: 6 }, () => () => this.#download(item)),
      ...Array.from({ length: 3 }, () => () => this.#spool(item)),
      ...Array.from({ length: 4 }, () => () => this.#output(item)),
      () => this.#adopt(item),
      () => this.#read(item),
      () => this.#update(item),
      () => this.#opened.delete(item.record.id),
      () => this.#churn(item),
    ]
    try {
      await this.#random.of(works)()
    } catch (error) {
      if (!this.#bears(error)) throw error
    }
  }

  async #download(item: Item): Promise<void> {
    const bytes = item.cut.contentLength
    const all = this.#random.oneIn(2)
    const task = await this.#opened.create(
      { ...item.record, ...(this.#random.oneIn(6) ? { createdAt: Date.now(), ttlMs: 5 } : {}) },
      item.cut,
      all ? {} : { bytesWanted: Math.ceil(bytes / 2) },
    )
    const release = task.hold()
    try {
      const numbers = Array.from({ length: item.cut.pieceCount }, (_, number) => number)
      const order = this.#random.shuffled(numbers)
      const stopAfter = all ? order.length : this.#random.below(order.length + 1)
      const wanted = order.slice(0, stopAfter)
      const next = async (): Promise<void> => {
        for (let number = wanted.pop(); number !== undefined; number = wanted.pop()) {
          if (!task.has(number)) await this.#fetch(task, item, number)
        }
      }
      await Promise.all([next(), next()])
    } finally {
      release()
    }
  }

  async #fetch(task: KeptTask, item: Item, number: number): Promise<void> {
    const slot = await task.slot(number, never)
    try {
      // A parent that sends half of a piece and dies.
      if (this.#random.oneIn(12)) {
        const space = slot.space() ?? new Uint8Array()
        slot.fill(item.content.fill(space.subarray(0, space.length >> 1), slot.piece.offset))
        return
      }
      await fill(slot, item.content)
      await task.commit(slot, { digest: await slot.finish(), parentId: 'parent' })
    } finally {
      slot.release()
    }
  }

  async #spool(item: Item): Promise<void> {
    const spool = await this.#opened.spool()
    try {
      for (const chunk of item.content.chunks(0, item.content.length, 90_000)) {
        await spool.write(chunk)
      }
      if (this.#random.oneIn(5)) return
      await spool.finish(item.record, item.cut.pieceLength)
    } finally {
      await spool.discard()
    }
  }

  async #adopt(item: Item): Promise<void> {
    const path = join(this.#root, 'in', item.name)
    if (!existsSync(path)) return
    await this.#opened.adopt(item.record, path, item.cut.pieceLength, never)
  }

  async #output(item: Item): Promise<void> {
    const task = this.#opened.get(item.record.id)
    if (task?.complete !== true) return
    const path = join(this.#root, 'out', `${item.name}-${this.#random.below(3)}`)
    await task.output(path, {
      overwrite: this.#random.oneIn(2),
      writable: this.#random.oneIn(2),
      signal: never,
    })
    if (item.edited && this.#random.oneIn(2)) edit(path)
  }

  async #update(item: Item): Promise<void> {
    await this.#opened.get(item.record.id)?.update({ validator: `"${this.#random.below(1000)}"` })
  }

  /** So many changes that the journal is compacted. */
  async #churn(item: Item): Promise<void> {
    const task = this.#opened.get(item.record.id)
    if (task === undefined || !this.#random.oneIn(3)) return
    await Promise.all(
      Array.from({ length: 4200 }, (_, at) => task.update({ validator: `"${at}"` })),
    )
    await task.update({ validator: '"last"' })
  }

  #bears(error: unknown): boolean {
    // A piece of an output went missing between two lines of this file, or its content is kept with another cut.
    if (error instanceof RangeError) return true
    // Where writes get lost, the store may notice at once.
    return this.#believing ? PeerError.is(error, ...expected) : PeerError.is(error)
  }

  async #read(item: Item): Promise<void> {
    const store = this.#opened
    const task = store.get(item.record.id)
    if (task === undefined) return
    for (let number = 0; number < item.cut.pieceCount; number++) {
      if (!task.has(number)) continue
      try {
        const bytes = await readPiece(store, task, number)
        const at = item.content.difference(bytes, number * item.cut.pieceLength)
        if (at !== undefined && this.#believing)
          throw new Wrong('wrong bytes', `${item.name} differs at ${at}`)
      } catch (error) {
        if (PeerError.is(error, 'STORE_CORRUPT') && !item.edited && this.#believing) {
          throw new Wrong('lost pieces', `piece ${number} of ${item.name}`)
        }
        if (!this.#bears(error)) throw error
      }
    }
  }
}

/** What other works of the same life, and the tiny limit, may lead to. */
const expected = [
  'NO_SPACE',
  'TASK_NOT_FOUND',
  'STORE_CORRUPT',
  'FILE_CHANGED',
  'OUTPUT_EXISTS',
] as const

/** What an application may do with its output. */
function edit(path: string): void {
  chmodSync(path, 0o644)
  const file = openSync(path, 'r+')
  try {
    writeSync(file, Uint8Array.of(1, 2, 3), 0, 3, 0)
  } finally {
    closeSync(file)
  }
}
