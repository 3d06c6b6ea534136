import { refuseUnknown, wholeNumber } from '../../util/settings.ts'
import { holdTimeoutMsDefault } from '../uploads.ts'

/** How pieces travel over TCP. Everything is optional. */
export interface TcpOptions {
  /** Longest wait for a connection to a parent, in milliseconds. @defaultValue 2000 */
  readonly connectTimeoutMs?: number
  /**
   * Longest time in which a transfer that has begun makes no progress, in milliseconds: a parent sends nothing, a child takes less than 256 KiB. Then the
   * connection is cut. The wait for the first byte of an answer is not meant: a parent may hold a piece that it is still fetching. @defaultValue 30000
   */
  readonly stallTimeoutMs?: number
  /** How long a connection to a parent is kept for the next piece, in milliseconds. Less than the parent's `requestTimeoutMs`. @defaultValue 15000 */
  readonly idleTimeoutMs?: number
  /** Idle connections kept to one parent; 0 makes one connection for each piece. Each costs a descriptor here and there and 4 KiB. @defaultValue 8 */
  readonly idlePerParentMax?: number
  /** Idle connections kept to all parents. @defaultValue 128 */
  readonly idleMax?: number
  /** How long a child may take for its next request, from the connection or the last piece on, in milliseconds. @defaultValue 30000 */
  readonly requestTimeoutMs?: number
  /** Longest wait for a piece that a child asked for while it is still being fetched here, in milliseconds. @defaultValue 360000 */
  readonly holdTimeoutMs?: number
  /**
   * Connections of children at the same time. One more takes the place of the oldest that asks for nothing, and is closed when all do. Each costs a descriptor and
   * up to 70 KiB. @defaultValue 1024
   */
  readonly connectionsMax?: number
  /** Whether the addon of `native/flow` moves content between disk and network where it loads. Without it JavaScript does. @defaultValue true */
  readonly native?: boolean
}

/** `TcpOptions`, complete and checked. */
export type TcpSettings = Readonly<Required<TcpOptions>>

/** What holds when an option is left out. */
export const tcpDefaults: TcpSettings = Object.freeze({
  connectTimeoutMs: 2000,
  stallTimeoutMs: 30_000,
  idleTimeoutMs: 15_000,
  idlePerParentMax: 8,
  idleMax: 128,
  requestTimeoutMs: 30_000,
  holdTimeoutMs: holdTimeoutMsDefault,
  connectionsMax: 1024,
  native: true,
})

const dayMs = 86_400_000

/** Checks the options. @throws TypeError, RangeError naming the key */
export function tcpSettings(options: TcpOptions = {}): TcpSettings {
  refuseUnknown('tcp', options, Object.keys(tcpDefaults))
  const number = (key: Exclude<keyof TcpSettings, 'native'>, min: number, max: number): number =>
    wholeNumber(`tcp.${key}`, options[key] ?? tcpDefaults[key], min, max)
  const native = options.native ?? tcpDefaults.native
  if (typeof native !== 'boolean') throw new TypeError('tcp.native must be true or false')
  return Object.freeze({
    connectTimeoutMs: number('connectTimeoutMs', 1, dayMs),
    stallTimeoutMs: number('stallTimeoutMs', 1, dayMs),
    idleTimeoutMs: number('idleTimeoutMs', 1, dayMs),
    idlePerParentMax: number('idlePerParentMax', 0, 1024),
    idleMax: number('idleMax', 0, 65_536),
    requestTimeoutMs: number('requestTimeoutMs', 1, dayMs),
    holdTimeoutMs: number('holdTimeoutMs', 1, dayMs),
    connectionsMax: number('connectionsMax', 1, 65_536),
    native,
  })
}
