import { MemoryStore } from '../../src/storage/memory-store.ts'
import { storeContract } from '../contract/store.ts'
import { MiB } from './filling.ts'

storeContract('MemoryStore', (_t, wanted) =>
  Promise.resolve(new MemoryStore({ bytesMax: 64 * MiB, ...wanted })),
)
