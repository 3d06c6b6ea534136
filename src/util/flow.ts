import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * What the addon in `native/flow` does: it moves bytes between sockets and files or memory without JavaScript, and computes the digests of pieces. Everything has a
 * way without it, which is taken where it does not load.
 *
 * Arguments are checked: a wrong one throws and never crashes. Nothing blocks the main thread but `add`, which takes as long as its bytes.
 */
export interface NativeFlow {
  /** Version of this interface. The loader takes no addon with another one. */
  readonly version: number
  /** Hash of the C sources that this binary was made of, so that a stale one can be told without a compiler. */
  readonly sources: string
  /** Begins the digests of a piece: CRC-32, and xxh64 when `hashes` says so. The bytes are a state that only this addon understands. */
  sums(hashes: boolean): Uint8Array
  /** Adds bytes to them. */
  add(sums: Uint8Array, bytes: Uint8Array): void
  /** The CRC-32 of everything added. */
  crc(sums: Uint8Array): number
  /** The xxh64 of everything added; it was asked for at the beginning. */
  xxh64(sums: Uint8Array): bigint
  /**
   * Gives the memory of an array back at once, which is otherwise there until it is collected. The array is empty then; no call that was handed it may still run. False, and
   * nothing has happened: it is not all of its buffer, so somebody else may have the rest, or the engine does not allow it.
   */
  release(bytes: Uint8Array): boolean
  /**
   * Sends a part of a file over a socket, and calls `done` once, later. The number is for `cancel()`. Both descriptors may be closed at once: the addon has
   * duplicates. `done` is called when everything has gone, after a failure, and about 50 ms after the beginning if some bytes have gone by then.
   *
   * @throws Error with `errno` when it cannot begin
   */
  send(socket: number, file: number, position: number, length: number, done: FlowDone): number
  /**
   * The same the other way round. `sums` are those of what came before, and hold these bytes too when `done` is called; after a cancel, or a failure of the file, they are
   * of no use. The end of what the socket gives: a count below `length`, 0 in the end.
   *
   * @param ahead - the first bytes of the part, which came already and are in the sums: less than all of it, and 256 KiB at most. They are written together with what comes
   * behind them, and count
   */
  receive(
    socket: number,
    file: number,
    position: number,
    length: number,
    done: FlowDone,
    sums: Uint8Array,
    ahead?: Uint8Array,
  ): number
  /**
   * The same into memory. Nobody may detach or transfer the buffer of `memory` before `done` is called, for threads write to it until then; that it is not collected is
   * seen to here.
   */
  fill(socket: number, memory: Uint8Array, done: FlowDone, sums: Uint8Array): number
  /**
   * Asks for large pages under memory that is not touched yet: its first use then takes a fraction of the time. A hint. False: the kernel gives none, or there is no whole page in it.
   */
  largePages(memory: Uint8Array): boolean
  /** Milliseconds for which the socket of a transfer has had nothing. 0 while what came is on its way to where it is kept, however long that takes, and when it has ended. */
  silence(id: number): number
  /** Ends a transfer: `done` is called soon, with ECANCELED. False: it has ended. */
  cancel(id: number): boolean
}

/** How a transfer ended: bytes that were moved, and two errno, 0 for none. */
export type FlowDone = (count: number, socketError: number, fileError: number) => void

/** Version of `NativeFlow` that this library was written for. */
const version = 3

/** Platforms that a binary is published for. */
const published: ReadonlySet<string> = new Set(['linux-x64', 'linux-arm64'])

/** Where the addon is looked for; the defaults are this process and this package. */
export interface FlowPlace {
  /** @defaultValue `process.platform` */
  readonly platform?: string
  /** @defaultValue `process.arch` */
  readonly arch?: string
  /** The folder with the binaries. @defaultValue `native/prebuilds` of this package */
  readonly folder?: string
}

/** Loads the addon. It never throws: undefined where there is no binary for this machine, or it does not load. Loading it again is cheap and gives the same one. */
export function loadFlow(place: FlowPlace = {}): NativeFlow | undefined {
  const target = `${place.platform ?? process.platform}-${place.arch ?? process.arch}`
  if (!published.has(target)) return undefined
  try {
    const folder = place.folder ?? join(packageFolder(), 'native/prebuilds')
    const path = join(folder, `flow-${target}.node`)
    const load = createRequire(import.meta.url)
    if (load.cache[path] === undefined && isMusl()) return undefined
    const native = load(path) as Partial<NativeFlow>
    return native.version === version ? (native as NativeFlow) : undefined
  } catch {
    // For whatever reason it does not load, the way without it does the same work.
    return undefined
  }
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
