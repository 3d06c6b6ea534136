import type { StoreUsage } from '../storage/store.ts'

/** How full the stores of a peer are. */
export interface PeerUsage {
  /** What is kept on disk; absent when the peer keeps everything in memory. */
  readonly disk?: StoreUsage
  /** What is kept in memory, for `bytes()` and `into`, or as the peer's only store. */
  readonly memory: StoreUsage
}
