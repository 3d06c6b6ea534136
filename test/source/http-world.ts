import { after, before, beforeEach } from 'node:test'
import { http } from '../../src/source/http.ts'
import { Sources } from '../../src/source/sources.ts'
import type { Origin } from '../../src/task/ports.ts'
import { cleanup } from '../support/cleanup.ts'
import { leaks } from '../support/leaks.ts'
import { RangeServer } from './range-server.ts'
import { patterned } from './reading.ts'
import { VirtualClock } from './virtual-clock.ts'

/** A server, and an http source on a clock without waiting. */
export interface HttpWorld {
  readonly server: RangeServer
  /** New for each test. */
  readonly clock: VirtualClock
  /** New for each test. */
  readonly sources: Sources
  /** What most of these tests read: 300 000 bytes. */
  readonly content: Uint8Array
  bind(url: string): Origin
}

/** Registers what a suite of such tests needs. At its end nothing may be open. */
export function httpWorld(): HttpWorld {
  let server: RangeServer | undefined
  let clock = new VirtualClock()
  let sources = new Sources([])
  const started = (): RangeServer => {
    if (server === undefined) throw new Error('The suite has not begun')
    return server
  }

  const ending = { after }
  leaks(ending)
  cleanup(ending, async () => {
    await sources.close()
    await started()[Symbol.asyncDispose]()
  })

  before(async () => {
    server = await RangeServer.start()
  })

  beforeEach(async () => {
    await sources.close()
    clock = new VirtualClock()
    sources = new Sources([http({ clock, random: () => 0.5 })])
    started().seen.length = 0
  })

  return {
    content: patterned(300_000),
    get server() {
      return started()
    },
    get clock() {
      return clock
    },
    get sources() {
      return sources
    },
    bind: (url) => sources.bind({ url, headers: {} }),
  }
}
