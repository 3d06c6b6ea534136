import { mkdir, statfs } from 'node:fs/promises'
import os from 'node:os'
import { join } from 'node:path'
import { PeerError } from '../errors.ts'
import { DiskStore } from '../storage/disk-store.ts'
import { MemoryStore } from '../storage/memory-store.ts'
import type { Store } from '../storage/store.ts'
import type { Clock } from '../util/clock.ts'
import type { Settings, StoreSetting } from './settings.ts'
import type { TransportMemory } from './transport-memory.ts'

/** Folders of one user's cache that are tried: as many processes can run without naming a folder. */
export const cacheFoldersMax: number = 64

/** The stores of a peer. For a peer that keeps everything in memory they are one. */
export interface Stores {
  readonly store: Store
  readonly memory: MemoryStore
  /** Folder of the disk store; undefined without one. */
  readonly dir: string | undefined
}

/**
 * Opens what the settings ask for. Without a folder the first one of this user's cache is taken that no other process works with: each process has its own
 * then, and after a restart finds the one of before.
 *
 * @throws PeerError STORE_LOCKED, STORE_VERSION, STORE_FAILED, PERMISSION_DENIED
 */
export async function openStores(
  settings: Settings,
  clock: Clock,
  transportMemory: TransportMemory,
): Promise<Stores> {
  const memory = new MemoryStore({
    bytesMax: settings.limits.memoryBytesMax,
    clock,
    allocate: (byteLength) => transportMemory.allocate(byteLength),
  })
  if (settings.store.is === 'memory') return { store: memory, memory, dir: undefined }
  const { dir, store } = await openDisk(settings.store, clock)
  return { store, memory, dir }
}

type DiskSetting = Extract<StoreSetting, { is: 'disk' }>

async function openDisk(
  setting: DiskSetting,
  clock: Clock,
): Promise<{ readonly dir: string; readonly store: DiskStore }> {
  if (setting.dir !== undefined) return openFolder(setting.dir, setting, clock)
  const cache = process.env['XDG_CACHE_HOME'] || join(os.homedir(), '.cache')
  for (let number = 0; ; number++) {
    const dir = join(cache, 'dragonfly-peer', String(number))
    try {
      return await openFolder(dir, setting, clock)
    } catch (error) {
      if (!PeerError.is(error, 'STORE_LOCKED') || number + 1 >= cacheFoldersMax) throw error
    }
  }
}

async function openFolder(
  dir: string,
  setting: DiskSetting,
  clock: Clock,
): Promise<{ readonly dir: string; readonly store: DiskStore }> {
  await makeFolder(dir)
  const { highWater, lowWater, ttlMs } = setting
  const bytesMax = setting.bytesMax ?? (await mostOf(dir))
  const store = await DiskStore.open({ dir, bytesMax, highWater, lowWater, ttlMs, clock })
  return { dir, store }
}

async function makeFolder(dir: string): Promise<void> {
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 })
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).code ?? 'UNKNOWN'
    const cause = { cause: error }
    if (errno === 'EACCES' || errno === 'EPERM' || errno === 'EROFS') {
      throw new PeerError(
        'PERMISSION_DENIED',
        'The store folder cannot be made',
        { path: dir },
        cause,
      )
    }
    const details = { path: dir, operation: 'mkdir', errno }
    throw new PeerError('STORE_FAILED', 'The store folder cannot be made', details, cause)
  }
}

/** The default limit: most of what the file system has, in use or free. What is free shrinks as the store fills, so the total is what counts. */
async function mostOf(dir: string): Promise<number> {
  const { blocks, bsize } = await statfs(dir)
  return Math.floor(blocks * bsize * 0.9)
}
