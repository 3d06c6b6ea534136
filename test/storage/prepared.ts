import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { DiskStore } from '../../src/storage/disk-store.ts'
import type { KeptTask } from '../../src/storage/store.ts'
import { type Geometry, geometry } from '../../src/task/piece.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { leaks } from '../support/leaks.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { keepAll, record } from './filling.ts'

export const pieceLength = 100_000
export const content: Content = new Content(5 * pieceLength + 7)
export const cut: Geometry = geometry(content.length, pieceLength)

export function folder(t: TestContext): string {
  leaks(t)
  return join(tempFolder(t), 'store')
}

export async function opened(t: TestContext, dir: string): Promise<DiskStore> {
  const store = await DiskStore.open({ dir })
  cleanup(t, () => store.close())
  return store
}

/** Makes a store with one complete task, and closes it. */
export async function prepared(dir: string): Promise<string> {
  const store = await DiskStore.open({ dir })
  const task = await store.create(record(), cut)
  await keepAll(task, content)
  await store.close()
  return task.record.id
}

export function found(store: DiskStore, id: string): KeptTask {
  const task = store.get(id)
  assert.ok(task !== undefined)
  return task
}

export function contentPath(dir: string, id: string): string {
  return join(dir, 'content', id.slice(0, 3), id)
}

export function flip(path: string, position: number): void {
  const file = openSync(path, 'r+')
  const before = readFileSync(path)[position] ?? 0
  writeSync(file, Uint8Array.of(before ^ 1), 0, 1, position)
  closeSync(file)
}
