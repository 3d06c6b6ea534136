import { existsSync, readdirSync, readFileSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { PeerError } from '../../src/errors.ts'
import { DiskStore } from '../../src/storage/disk-store.ts'
import type { KeptTask } from '../../src/storage/store.ts'
import { pieceAt } from '../../src/task/piece.ts'
import { keepAll, never, readPiece } from '../storage/filling.ts'
import { peerBytesMax, peerContent, peerItems, storeBytesMax, storeItems } from './items.ts'
import { startPeer } from './peer-life.ts'
import { Wrong } from './wrong.ts'

/** The journal is compacted at 4096 records, and the largest batch of a life has 4200. */
const journalLinesMax = 9500

/** Content, as it has to be. */
interface Known {
  readonly name: string
  readonly bytes: Uint8Array
  readonly edited: boolean
}

/** What is looked at after a kill. */
export interface Scene {
  readonly life: 'store' | 'peer'
  readonly root: string
  readonly origin: string
  /** Without lost writes every piece that was kept is good. */
  readonly believing: boolean
}

const known: ReadonlyMap<string, Known> = new Map([
  ...storeItems.map(
    ({ name, content, edited }) => [name, { name, bytes: content.bytes(), edited }] as const,
  ),
  ...peerItems.map(
    (name) => [name, { name, bytes: peerContent(name).bytes(), edited: false }] as const,
  ),
])
const nameOfId: ReadonlyMap<string, string> = new Map(
  storeItems.map(({ name, record }) => [record.id, name]),
)

/** Opens the store as the next process would, and throws `Wrong` at what must not be. The number of pieces that were compared. */
export async function inspect(scene: Scene): Promise<number> {
  const store = await opened(scene)
  try {
    // First: of pieces that are found damaged the bytes stay on the disk, and so counted, until they are fetched again.
    refuseLeaks(store, scene)
    compareOutputs(scene)
    return await comparePieces(store, scene)
  } finally {
    await store.close()
  }
}

/** Completes everything, compares it, removes everything, and looks for what is left. */
export async function finish(scene: Scene): Promise<void> {
  const { root, life } = scene
  ageSockets(root)
  if (life === 'peer') await completePeer(scene)
  const store = await opened(scene)
  try {
    if (life === 'store') await completeStore(store, root)
    for (const task of store.list()) await store.delete(task.record.id)
    const { bytes, tasks } = store.usage()
    if (bytes !== 0 || tasks !== 0) {
      throw new Wrong('leak of space', `${bytes} bytes in ${tasks} tasks after all were deleted`)
    }
  } finally {
    await store.close()
  }
  const left = filesBelow(join(root, 'store')).filter((path) => path !== 'journal')
  if (left.length > 0) throw new Wrong('leak of space', `left in the end: ${left.join(' ')}`)
}

/** A socket that was made and not shown yet belongs to a process that starts now, or is removed when it is a minute old: that minute is over. */
function ageSockets(root: string): void {
  const folder = join(root, 'store', 'lock')
  const then = Date.now() / 1000 - 120
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    if (name.endsWith('.new')) utimesSync(join(folder, name), then, then)
  }
}

async function opened({ root, life }: Scene): Promise<DiskStore> {
  const bytesMax = life === 'store' ? storeBytesMax : peerBytesMax
  try {
    return await DiskStore.open({ dir: join(root, 'store'), bytesMax })
  } catch (error) {
    throw new Wrong('unusable store', String(error), error)
  }
}

async function comparePieces(store: DiskStore, scene: Scene): Promise<number> {
  let pieces = 0
  for (const task of store.list()) {
    const wanted = contentOf(task)
    if (wanted === undefined || wanted.bytes.length !== task.geometry.contentLength) {
      throw new Wrong('wrong bytes', `a task that nobody made: ${JSON.stringify(task.record)}`)
    }
    for (let number = 0; number < task.geometry.pieceCount; number++) {
      if (!task.has(number)) continue
      pieces++
      await comparePiece(store, task, { number, wanted, believing: scene.believing })
    }
  }
  return pieces
}

async function comparePiece(
  store: DiskStore,
  task: KeptTask,
  piece: { readonly number: number; readonly wanted: Known; readonly believing: boolean },
): Promise<void> {
  const { number, wanted, believing } = piece
  const { offset, length } = pieceAt(task.geometry, number)
  try {
    const bytes = await readPiece(store, task, number)
    if (Buffer.compare(bytes, wanted.bytes.subarray(offset, offset + length)) === 0) return
    throw new Wrong('wrong bytes', `piece ${number} of ${wanted.name}`)
  } catch (error) {
    // Found before anybody got it, which is as it should be; but there has to be a reason for it.
    if (!PeerError.is(error, 'STORE_CORRUPT', 'FILE_CHANGED', 'TASK_NOT_FOUND')) throw error
    if (believing && !wanted.edited) throw new Wrong('lost pieces', `${number} of ${wanted.name}`)
  }
}

/** What stands at the path of an output is whole. */
function compareOutputs({ root, believing }: Scene): void {
  for (const file of readdirSync(join(root, 'out'))) {
    if (file.startsWith('.dragonfly-')) throw new Wrong('leak of space', `out/${file}`)
    const [name = '', rest = ''] = file.split('-')
    const range = known.get(rest)?.bytes.subarray(1000, 601_000)
    const wanted = name === 'range' && range ? { edited: false, bytes: range } : known.get(name)
    // Outputs are not synced to the disk, as with any copy, so after a power failure their bytes are the application's to check.
    if (wanted === undefined || wanted.edited || !believing) continue
    if (Buffer.compare(readFileSync(join(root, 'out', file)), wanted.bytes) !== 0) {
      throw new Wrong('wrong bytes', `out/${file}`)
    }
  }
}

function refuseLeaks(store: DiskStore, { root }: Scene): void {
  const dir = join(root, 'store')
  let bytes = 0
  for (const path of filesBelow(dir)) {
    if (path === 'journal' || /^lock\/[0-9a-f]+-[0-9]+\.lock$/.test(path)) continue
    // See `ageSockets()`.
    if (/^lock\/[0-9a-f]+-[0-9]+\.lock\.new$/.test(path)) continue
    const owner = store.get(path.split('/').at(-1) ?? '')
    if (owner === undefined) throw new Wrong('leak of space', `nobody's: ${path}`)
    for (let number = 0; number < owner.geometry.pieceCount; number++) {
      if (owner.has(number)) bytes += pieceAt(owner.geometry, number).length
    }
  }
  if (store.usage().bytes !== bytes) {
    throw new Wrong('leak of space', `${bytes} bytes are kept, ${store.usage().bytes} counted`)
  }
  const locks = readdirSync(join(dir, 'lock')).filter((name) => name.endsWith('.lock'))
  if (locks.length > 1) throw new Wrong('leak of space', `${locks.length} locks`)
  const lines = readFileSync(join(dir, 'journal'), 'latin1').split('\n').length
  if (lines > journalLinesMax) throw new Wrong('leak of space', `${lines} lines of journal`)
}

async function completeStore(store: DiskStore, root: string): Promise<void> {
  for (const item of storeItems) {
    const path = join(root, 'out', `${item.name}-last`)
    const task = await store.create(item.record, item.cut)
    const release = task.hold()
    try {
      await completed(task, item.name, async () => {
        await keepAll(task, item.content)
        await task.output(path, { overwrite: true, writable: true, signal: never })
      })
      const wanted = known.get(item.name)?.bytes ?? new Uint8Array()
      if (Buffer.compare(readFileSync(path), wanted) !== 0) {
        throw new Wrong('wrong bytes', `${item.name}, completed`)
      }
    } finally {
      release()
    }
    await store.delete(item.record.id)
  }
}

/** As an application does: what was found damaged is fetched again. */
async function completed(task: KeptTask, name: string, work: () => Promise<void>): Promise<void> {
  for (let count = 0; count < 3; count++) {
    try {
      await work()
      return
    } catch (error) {
      if (!PeerError.is(error, 'STORE_CORRUPT', 'FILE_CHANGED')) {
        throw new Wrong('unusable store', `${name}: ${String(error)}`, error)
      }
    }
  }
  throw new Wrong('unusable store', `${name} cannot be completed, ${task.keptCount} pieces`)
}

async function completePeer({ root, origin }: Scene): Promise<void> {
  const peer = await startPeer(root).catch((error: unknown) => {
    throw new Wrong('unusable store', String(error), error)
  })
  try {
    for (const name of ['c0', 'c1', 'c2'] as const) {
      const path = join(root, 'out', `${name}-last`)
      try {
        await peer.download(`${origin}/${name}`).toFile(path, { overwrite: true })
      } catch (error) {
        // What was written is kept until its time is over, and may leave too little room.
        if (PeerError.is(error, 'NO_SPACE')) continue
        throw new Wrong('unusable store', `${name}: ${String(error)}`, error)
      }
      if (Buffer.compare(readFileSync(path), known.get(name)?.bytes ?? new Uint8Array()) !== 0) {
        throw new Wrong('wrong bytes', `${name}, completed`)
      }
    }
  } finally {
    await peer.destroy()
  }
}

function contentOf(task: KeptTask): Known | undefined {
  const { id, tag, url } = task.record
  const name = nameOfId.get(id) ?? tag ?? url?.split('/').at(-1) ?? ''
  return known.get(name)
}

/** Everything below a folder that is no folder. */
function filesBelow(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
}
