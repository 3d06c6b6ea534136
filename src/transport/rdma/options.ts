import { refuseUnknown, text, wholeNumber } from '../../util/settings.ts'

/** How pieces travel over RDMA. Everything is optional. */
export interface RdmaOptions {
  /** Name of the device, as `ibv_devices` shows it. @defaultValue the first one with an active port */
  readonly device?: string
  /** Port of the device, from 1 on. @defaultValue the first active one */
  readonly port?: number
  /**
   * Which address of the port is used, as `show_gids` numbers them.
   * @defaultValue on RoCE the version 2 address of this host, else the first of version 2 that is an IPv4 address; on InfiniBand 0
   */
  readonly gidIndex?: number
  /**
   * Most bytes of registered memory for pieces that do not lie in registered memory themselves (those on disk, and those in memory of the caller): half of it to
   * serve from, half to read into. It counts against the locked memory of the process (`ulimit -l`). @defaultValue 256 MiB
   */
  readonly memoryBytesMax?: number
  /** The verbs library. @defaultValue `libibverbs.so.1` */
  readonly library?: string
  /**
   * Longest time in which a read makes no progress, in milliseconds. Then the connection is given up and its pieces go on over the next transport. Opening a connection
   * may take as long, and 2000 at least.
   * @defaultValue 1500
   */
  readonly stallTimeoutMs?: number
}

/** `RdmaOptions`, complete and checked. Undefined: chosen when the device is opened. */
export interface RdmaSettings {
  readonly device: string | undefined
  readonly port: number | undefined
  readonly gidIndex: number | undefined
  readonly memoryBytesMax: number
  readonly library: string
  readonly stallTimeoutMs: number
}

/** What holds when an option is left out. */
export const rdmaDefaults: Pick<RdmaSettings, 'memoryBytesMax' | 'library' | 'stallTimeoutMs'> =
  Object.freeze({
    // A quarter of it holds a piece of the largest kind, so that at least two are served and two are read at a time.
    memoryBytesMax: 256 * 1024 * 1024,
    library: 'libibverbs.so.1',
    stallTimeoutMs: 1500,
  })

/** Checks the options. @throws TypeError, RangeError naming the key */
export function rdmaSettings(options: RdmaOptions = {}): RdmaSettings {
  refuseUnknown('rdma', options, [
    'device',
    'port',
    'gidIndex',
    'memoryBytesMax',
    'library',
    'stallTimeoutMs',
  ])
  const { device, port, gidIndex } = options
  return Object.freeze({
    device: device === undefined ? undefined : text('rdma.device', device, 63),
    port: port === undefined ? undefined : wholeNumber('rdma.port', port, 1, 255),
    gidIndex:
      gidIndex === undefined ? undefined : wholeNumber('rdma.gidIndex', gidIndex, 0, 65_535),
    memoryBytesMax: wholeNumber(
      'rdma.memoryBytesMax',
      options.memoryBytesMax ?? rdmaDefaults.memoryBytesMax,
      8 * 1024 * 1024,
      2 ** 40,
    ),
    library: text('rdma.library', options.library ?? rdmaDefaults.library),
    stallTimeoutMs: wholeNumber(
      'rdma.stallTimeoutMs',
      options.stallTimeoutMs ?? rdmaDefaults.stallTimeoutMs,
      50,
      60_000,
    ),
  })
}
