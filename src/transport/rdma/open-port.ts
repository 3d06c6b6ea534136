import { pieceLengthMax } from '../../task/piece.ts'
import type { Clock } from '../../util/clock.ts'
import type { RdmaOffer } from './control.ts'
import { importLingerMs, lingerMs } from './limits.ts'
import type { NativeContext, NativeDomain, NativeRdma } from './native.ts'
import { Regions } from './regions.ts'
import { Slabs } from './slabs.ts'

/** One side of the memory: a protection domain, and what is registered in it. */
export interface Side {
  readonly domain: NativeDomain
  /** Memory that is registered where it lies. */
  readonly regions: Regions
  /** Memory for what does not lie in such memory. */
  readonly slabs: Slabs
}

/** An open port of a device with everything that hangs on it. What is read into and what others read have nothing in common: keys of one side are worth nothing on the other. */
export interface OpenPort {
  readonly native: NativeRdma
  readonly context: NativeContext
  readonly imports: Side
  readonly exports: Side
  readonly offer: RdmaOffer
}

/** Makes the two sides. */
export async function openSides(
  native: NativeRdma,
  context: NativeContext,
  memoryBytesMax: number,
  clock: Clock,
): Promise<OpenPort> {
  const bytesMax = Math.floor(memoryBytesMax / 2)
  const [imported, exported] = await Promise.all([native.domain(context), native.domain(context)])
  const local = { native, domain: imported, access: 'local', clock } as const
  const remote = { native, domain: exported, access: 'remoteRead', clock } as const
  return {
    native,
    context,
    imports: {
      domain: imported,
      regions: new Regions({ ...local, lingerMs: importLingerMs, partBytesMax: pieceLengthMax }),
      slabs: new Slabs({ ...local, bytesMax }),
    },
    exports: {
      domain: exported,
      regions: new Regions({ ...remote, lingerMs, partBytesMax: pieceLengthMax }),
      slabs: new Slabs({ ...remote, bytesMax }),
    },
    offer: { mtu: context.mtu, readsMax: context.readsInMax },
  }
}
