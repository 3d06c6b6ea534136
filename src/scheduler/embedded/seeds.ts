import { clone } from '@bufbuild/protobuf'
import { createClient } from '@connectrpc/connect'

import { type Download, DownloadSchema } from '../../rpc/gen/common/v2/common_pb.ts'
import { DfdaemonUpload } from '../../rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import type { Clock } from '../../util/clock.ts'
import type { HostCalls } from './host-calls.ts'
import type { HostRecord } from './host-record.ts'
import type { Registry } from './registry.ts'
import type { PeerRecord, TaskRecord } from './records.ts'

/** Finds seed peers and asks them to fetch tasks (controlplane 1.5). */
export class Seeds {
  readonly #registry: Registry
  readonly #calls: HostCalls
  readonly #clock: Clock
  readonly #load = new Map<string, number>()
  readonly #onEnded: (task: TaskRecord, host: HostRecord) => void

  constructor(
    registry: Registry,
    calls: HostCalls,
    clock: Clock,
    onEnded: (task: TaskRecord, host: HostRecord) => void,
  ) {
    this.#registry = registry
    this.#calls = calls
    this.#clock = clock
    this.#onEnded = onEnded
  }

  /** The seed with the least to do that has failed neither for this task nor for this child; undefined when there is none. */
  find(child: PeerRecord): HostRecord | undefined {
    if (!this.#calls.free) return undefined
    const nowMs = this.#clock.now()
    const { task } = child
    let best: HostRecord | undefined
    for (const host of this.#registry.hosts) {
      if (!host.isSeed || host.disableShared || host.id === child.host.id) continue
      if (task.bansSeed(host.id, nowMs) || task.triggers.has(host.id)) continue
      // It is dead, as far as this child knows, and would be waited for in vain.
      if (child.failedBy(host.id, nowMs)) continue
      if (best === undefined || this.#loadOf(host) < this.#loadOf(best)) best = host
    }
    return best
  }

  /** Asks a seed to fetch what the child asked for. Its answer stream is read to the end, and thrown away. */
  call(host: HostRecord, task: TaskRecord, download: Download): void {
    this.#load.set(host.id, this.#loadOf(host) + 1)
    const request = { download: forSeed(download) }
    const running = this.#calls.run(host, host.facts.port, async (transport, signal) => {
      const client = createClient(DfdaemonUpload, transport)
      for await (const _ of client.downloadTask(request, { signal })) continue
    })
    void running.then(() => {
      const load = this.#loadOf(host) - 1
      if (load > 0) this.#load.set(host.id, load)
      else this.#load.delete(host.id)
      if (!this.#calls.closed) this.#onEnded(task, host)
    })
  }

  #loadOf(host: HostRecord): number {
    return this.#load.get(host.id) ?? 0
  }
}

/**
 * The asker's own words, but for what only concerns the asker: nothing is written to a path of the seed, no content is sent here, and the seed goes to the origin
 * also for one that shall not.
 */
function forSeed(download: Download): Download {
  const copy = clone(DownloadSchema, download)
  copy.needBackToSource = true
  copy.disableBackToSource = false
  copy.outputPath = undefined
  copy.needPieceContent = false
  copy.metadataOnly = false
  copy.forceHardLink = false
  copy.overwrite = false
  return copy
}
