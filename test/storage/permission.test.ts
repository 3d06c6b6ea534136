import assert from 'node:assert/strict'
import { chmodSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { DiskStore } from '../../src/storage/disk-store.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { storeChild } from './child.ts'
import { code } from './filling.ts'

test('DiskStore.open() says PERMISSION_DENIED for a folder that it may not write to', async (t) => {
  const dir = join(tempFolder(t), 'closed')
  mkdirSync(dir)
  chmodSync(dir, 0o500)
  if (process.getuid?.() !== 0) {
    await assert.rejects(DiskStore.open({ dir }), code('PERMISSION_DENIED'))
    return
  }
  // Root may do everything, so somebody else has to try.
  const child = storeChild(t, 'nobody', dir)
  assert.equal(await child.next(), 'error PERMISSION_DENIED')
  assert.equal(await child.left(), 0)
})
