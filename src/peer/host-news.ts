import { create } from '@bufbuild/protobuf'
import { type Host, HostSchema } from '../rpc/gen/common/v2/common_pb.ts'
import type { Clock } from '../util/clock.ts'

/** Milliseconds between two messages of SyncHost; the real client sends about one per second. */
export const hostNewsIntervalMs: number = 1000

/** What SyncHost tells about: how much this host may send and how much it sends. */
export interface HostNews {
  /** Bytes sent to other peers since the start. */
  readonly sentBytes: () => number
  /** Bytes per second that it can send. */
  readonly sendBytesPerSecondMax: number
  readonly clock: Clock
}

/** Answers SyncHost: a host with network figures only, in bits per second, about once a second until the child goes away. */
export async function* hostNews(
  news: HostNews,
  signal: AbortSignal,
): AsyncGenerator<Host, void, undefined> {
  let sentBefore = news.sentBytes()
  let before = news.clock.now()
  while (!signal.aborted) {
    await pause(news.clock, signal)
    const sent = news.sentBytes()
    const now = news.clock.now()
    const rate = ((sent - sentBefore) * 8000) / Math.max(1, now - before)
    sentBefore = sent
    before = now
    yield create(HostSchema, {
      network: {
        maxTxBandwidth: BigInt(Math.floor(news.sendBytesPerSecondMax * 8)),
        txBandwidth: BigInt(Math.floor(rate)),
      },
    })
  }
}

/** Resolves after the interval, or at once when the child goes away. */
async function pause(clock: Clock, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const end = (): void => {
      cancel()
      signal.removeEventListener('abort', end)
      resolve()
    }
    const cancel = clock.after(hostNewsIntervalMs, end)
    if (signal.aborted) end()
    else signal.addEventListener('abort', end, { once: true })
  })
}
