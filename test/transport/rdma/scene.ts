import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { PeerError } from '../../../src/errors.ts'
import type { RdmaControl, RdmaService } from '../../../src/transport/rdma/control.ts'
import type { RdmaOptions } from '../../../src/transport/rdma/options.ts'
import type { RateGate } from '../../../src/transport/transport.ts'
import { type Clock, systemClock } from '../../../src/util/clock.ts'
import { type Pair, type PairOptions, pairOf } from '../pair.ts'
import { contentOf, PieceShelf } from '../piece-shelf.ts'
import { FakeNative } from './fake-native.ts'
import { RdmaNetwork } from './network.ts'

/** What a scene is made of, where the default does not do. */
export interface SceneOptions extends PairOptions {
  readonly length?: number
  readonly pieceLength?: number
  readonly where?: 'memory' | 'disk'
  /** Counts every buffer as registrable. */
  readonly anyMemory?: boolean
  readonly rdma?: RdmaOptions
  readonly wrap?: (control: RdmaControl) => RdmaControl
}

/** A parent and a child on a network of their own. */
export interface Scene extends Pair {
  readonly native: FakeNative
  readonly network: RdmaNetwork
  readonly shelf: PieceShelf
  readonly clock: Clock
  /** What the parent answers. */
  readonly service: RdmaService
  /** Calls of the child that begin so. */
  asked(method: string): readonly string[]
}

/** A gate that says that it is always open. */
export const unlimited: RateGate = { take: () => Promise.resolve(), limited: false }

/** Opens a scene; it is gone when the test ends. */
export async function sceneOf(test: TestContext, options: SceneOptions = {}): Promise<Scene> {
  const native = new FakeNative({ anyMemory: options.anyMemory ?? false })
  const network = new RdmaNetwork(native, options.rdma)
  if (options.wrap !== undefined) network.wrap = options.wrap
  const { length = 1000, pieceLength = 1000, where = 'memory' } = options
  const shelf = new PieceShelf(contentOf(length), pieceLength, where)
  const pair = await pairOf(test, () => network.factory(), shelf, options)
  return {
    ...pair,
    native,
    network,
    shelf,
    clock: options.clock ?? systemClock,
    service: network.serviceAt(pair.address.endpoint.tcpPort),
    asked: (method) => network.calls.filter((call) => call.startsWith(method)),
  }
}

/** For `assert.rejects`: the parent cannot be reached, for this reason. */
export function unreachable(reason: RegExp): (error: unknown) => true {
  return (error) => {
    assert.ok(PeerError.is(error, 'PARENT_UNREACHABLE'), String(error))
    assert.match(error.message, reason)
    return true
  }
}
