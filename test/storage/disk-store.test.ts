import { join } from 'node:path'
import { DiskStore } from '../../src/storage/disk-store.ts'
import { SlabPool } from '../../src/storage/slabs.ts'
import { storeContract } from '../contract/store.ts'
import { tempFolder } from '../support/temp-folder.ts'

storeContract('DiskStore', (t, wanted) =>
  DiskStore.open({ dir: join(tempFolder(t), 'store'), ...wanted }),
)

storeContract('DiskStore without the addon', (t, wanted) =>
  DiskStore.open({ dir: join(tempFolder(t), 'store'), native: false, ...wanted }),
)

// The least that can work: a slot has one slab and never another, and at most two slots are open at a time.
storeContract('DiskStore with two small slabs', (t, wanted) => {
  const slabs = new SlabPool({ count: 2, slabBytes: 10_000 })
  return DiskStore.open({ dir: join(tempFolder(t), 'store'), slabs, ...wanted })
})
