import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { NativeRdma } from './native.ts'

/** The addon, or why there is none. */
export type Addon = { readonly native: NativeRdma } | { readonly reason: string }

/** What the addon is looked for by; the defaults are this process. */
export interface AddonPlace {
  /** @defaultValue `process.platform` */
  readonly platform?: string
  /** @defaultValue `process.arch` */
  readonly arch?: string
  /** The folder with the binaries. @defaultValue `native/prebuilds` of this package */
  readonly folder?: string
}

/** Version of `NativeRdma` that this library was written for. */
const version = 1

/** Platforms that a binary is published for. */
const published: ReadonlySet<string> = new Set(['linux-x64', 'linux-arm64'])

/**
 * Loads the addon. It never throws: where there is no binary for this machine, or it does not load, the answer says why. Loading it again is cheap and gives the same one.
 */
export function loadAddon(place: AddonPlace = {}): Addon {
  const target = `${place.platform ?? process.platform}-${place.arch ?? process.arch}`
  if (!published.has(target)) return { reason: `RDMA is unsupported on ${target}` }
  try {
    if (isMusl()) return { reason: 'RDMA is unsupported with musl: it needs the GNU C library' }
    const folder = place.folder ?? join(packageFolder(), 'native/prebuilds')
    const native: unknown = createRequire(import.meta.url)(join(folder, `${target}.node`))
    return checked(native)
  } catch (error) {
    return { reason: `The RDMA addon does not load: ${String(error)}` }
  }
}

function checked(native: unknown): Addon {
  const found = (native as Partial<NativeRdma> | undefined)?.version
  if (found === version) return { native: native as NativeRdma }
  return { reason: `The RDMA addon has version ${String(found)}, wanted ${version}` }
}

/** Whether this Node.js runs on musl, whose loader is then among what the process has mapped. */
function isMusl(): boolean {
  return readFileSync('/proc/self/maps', 'latin1').includes('/ld-musl-')
}

/** The folder above this file with package.json: it lies at another depth in the published package than in a build of the tests. */
function packageFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) {
    const above = dirname(folder)
    if (above === folder) throw new Error('No package.json above the library')
    folder = above
  }
  return folder
}
