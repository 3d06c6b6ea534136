import { test } from 'node:test'
import { expectTypeOf } from 'expect-type'
import type {
  Download,
  DownloadLimits,
  DownloadOptions,
  LimitOptions,
  Peer,
  PeerLimits,
} from '../../src/index.ts'

test('Limits can be changed by the names that options have', () => {
  expectTypeOf<keyof PeerLimits>().toEqualTypeOf<keyof LimitOptions>()
  expectTypeOf<Peer['limits']>().toEqualTypeOf<PeerLimits>()
  expectTypeOf<Peer['setLimits']>().returns.toEqualTypeOf<void>()
  expectTypeOf<LimitOptions>().toExtend<Parameters<Peer['setLimits']>[0]>()
  expectTypeOf<PeerLimits>().toExtend<Parameters<Peer['setLimits']>[0]>()
  expectTypeOf<{ uploadBytesPerSecond: undefined }>().toExtend<Parameters<Peer['setLimits']>[0]>()
  expectTypeOf<{ uploadBytesPerSecond: string }>().not.toExtend<Parameters<Peer['setLimits']>[0]>()
})

test('Limits of a download are options of it', () => {
  expectTypeOf<keyof DownloadLimits>().toExtend<keyof DownloadOptions>()
  expectTypeOf<Download['limits']>().toEqualTypeOf<DownloadLimits>()
  expectTypeOf<DownloadLimits>().toExtend<Parameters<Download['setLimits']>[0]>()
  expectTypeOf<{ uploadSlots: 1 }>().not.toExtend<Parameters<Download['setLimits']>[0]>()
})
