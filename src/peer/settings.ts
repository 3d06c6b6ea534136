import { isIP } from 'node:net'
import os from 'node:os'
import { isAbsolute } from 'node:path'
import type { Source } from '../source/source.ts'
import type { TransportFactory } from '../transport/transport.ts'
import { describe, flag, refuseUnknown, text, wholeNumber } from '../util/settings.ts'
import {
  type LimitOptions,
  limitDefaults,
  type PeerLimitChange,
  type PeerLimits,
  type PeerOptions,
  type StoreOptions,
} from './options.ts'
import { type TlsSetting, tlsSetting } from './tls.ts'

/** Most addresses of schedulers that can be given. */
export const schedulerAddressesMax: number = 64
/** Longest path of a unix socket in bytes: what the address of one holds on Linux, with the zero at its end. */
export const socketPathBytesMax: number = 107

/** Most pieces that one download may fetch at once. */
export const concurrencyMax: number = 1024
/** Lowest rate that can be set, in bytes per second. */
export const rateMin: number = 1024

/** Who schedules, after parsing. */
export type SchedulerSetting =
  | { readonly is: 'embedded' }
  | { readonly is: 'addresses'; readonly addresses: readonly string[] }
  | { readonly is: 'manager'; readonly address: string }

/** The store, after parsing. `dir` undefined: one of the folders of this user's cache. */
export type StoreSetting =
  | { readonly is: 'memory' }
  | {
      readonly is: 'disk'
      readonly dir: string | undefined
      readonly bytesMax: number | undefined
      readonly highWater: number
      readonly lowWater: number
      readonly ttlMs: number
    }

/** `PeerOptions`, complete and checked. */
export interface Settings {
  readonly scheduler: SchedulerSetting
  readonly seedPeer: boolean
  readonly host: {
    readonly ip: string | undefined
    readonly hostname: string | undefined
    readonly idc: string | undefined
    readonly location: string | undefined
  }
  readonly listen: {
    readonly ip: string | undefined
    readonly port: number
    readonly tcpPort: number
    readonly schedulerPort: number
  }
  readonly store: StoreSetting
  /** Empty: the default. */
  readonly transports: readonly TransportFactory[]
  readonly sources: readonly Source[]
  /** As the peer starts. */
  readonly limits: PeerLimits
  /** Undefined: clear text. */
  readonly tls: TlsSetting | undefined
  /** Undefined: no socket for local tools. */
  readonly socketPath: string | undefined
}

/** Checks the options of a peer. @throws TypeError, RangeError that name the key; no I/O has happened then */
export function settings(options: PeerOptions = {}): Settings {
  refuseUnknown('options', options, [
    'scheduler',
    'seedPeer',
    'host',
    'listen',
    'store',
    'transports',
    'sources',
    'limits',
    'tls',
    'socketPath',
  ])
  return Object.freeze({
    scheduler: schedulerSetting(options.scheduler ?? 'embedded'),
    seedPeer: flag('options.seedPeer', options.seedPeer ?? false),
    host: hostSetting(options.host ?? {}),
    listen: listenSetting(options.listen ?? {}, options.scheduler ?? 'embedded'),
    store: storeSetting(options.store ?? {}),
    transports: list<TransportFactory>('options.transports', options.transports ?? [], 'function'),
    sources: list<Source>('options.sources', options.sources ?? [], 'object'),
    limits: limitSetting('options.limits', options.limits ?? {}),
    tls: options.tls === undefined ? undefined : tlsSetting(options.tls),
    socketPath: options.socketPath === undefined ? undefined : socketSetting(options.socketPath),
  })
}

function socketSetting(value: unknown): string {
  const path = text('options.socketPath', value)
  if (!isAbsolute(path) || path.includes('\0')) {
    throw new RangeError('options.socketPath must be an absolute path')
  }
  const bytes = Buffer.byteLength(path)
  if (bytes <= socketPathBytesMax) return path
  throw new RangeError(
    `options.socketPath must have at most ${socketPathBytesMax} bytes, got ${bytes}`,
  )
}

function schedulerSetting(value: NonNullable<PeerOptions['scheduler']>): SchedulerSetting {
  if (value === 'embedded') return { is: 'embedded' }
  if (typeof value === 'string') {
    return { is: 'addresses', addresses: [address('options.scheduler', value)] }
  }
  if (Array.isArray(value)) {
    wholeNumber('options.scheduler.length', value.length, 1, schedulerAddressesMax)
    return {
      is: 'addresses',
      addresses: value.map((item, at) => address(`options.scheduler[${at}]`, item)),
    }
  }
  refuseUnknown('options.scheduler', value, ['manager'])
  const { manager } = value as { manager: string }
  return { is: 'manager', address: address('options.scheduler.manager', manager) }
}

/** `host:port`, with brackets around an IPv6 address. */
function address(name: string, value: unknown): string {
  const given = text(name, value, 300)
  const match = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})$/.exec(given)
  if (match === null || Number(match[2]) < 1 || Number(match[2]) > 65_535) {
    throw new RangeError(`${name} must be an address such as 10.0.0.1:8002`)
  }
  return given
}

function hostSetting(value: NonNullable<PeerOptions['host']>): Settings['host'] {
  refuseUnknown('options.host', value, ['ip', 'hostname', 'idc', 'location'])
  return {
    ip: value.ip === undefined ? undefined : literal('options.host.ip', value.ip),
    hostname:
      value.hostname === undefined ? undefined : text('options.host.hostname', value.hostname, 253),
    idc: value.idc === undefined ? undefined : text('options.host.idc', value.idc, 1024),
    location:
      value.location === undefined
        ? undefined
        : text('options.host.location', value.location, 1024),
  }
}

function listenSetting(
  value: NonNullable<PeerOptions['listen']>,
  scheduler: NonNullable<PeerOptions['scheduler']>,
): Settings['listen'] {
  refuseUnknown('options.listen', value, ['ip', 'port', 'tcpPort', 'schedulerPort'])
  const port = (key: 'port' | 'tcpPort' | 'schedulerPort'): number =>
    wholeNumber(`options.listen.${key}`, value[key] ?? 0, 0, 65_535)
  // It is announced, and a Go scheduler refuses a host with another one for good (dataplane 0).
  const announced = port('port')
  if (scheduler !== 'embedded' && announced !== 0 && (announced < 1024 || announced > 65_534)) {
    throw new RangeError(
      `options.listen.port must be 0 or 1024 to 65534 with a scheduler elsewhere, got ${announced}`,
    )
  }
  return {
    ip: value.ip === undefined ? undefined : literal('options.listen.ip', value.ip),
    port: port('port'),
    tcpPort: port('tcpPort'),
    schedulerPort: port('schedulerPort'),
  }
}

function storeSetting(value: 'memory' | StoreOptions): StoreSetting {
  if (value === 'memory') return { is: 'memory' }
  if (typeof value === 'string') {
    throw new TypeError(`options.store must be 'memory' or an object, got ${describe(value)}`)
  }
  refuseUnknown('options.store', value, ['dir', 'bytesMax', 'highWater', 'lowWater', 'ttlMs'])
  const highWater = share('options.store.highWater', value.highWater ?? 0.9)
  const lowWater = share('options.store.lowWater', value.lowWater ?? Math.min(0.7, highWater))
  if (lowWater > highWater) {
    throw new RangeError('options.store.lowWater must not be above options.store.highWater')
  }
  return {
    is: 'disk',
    dir: value.dir === undefined ? undefined : text('options.store.dir', value.dir),
    bytesMax:
      value.bytesMax === undefined
        ? undefined
        : wholeNumber('options.store.bytesMax', value.bytesMax, 1, Number.MAX_SAFE_INTEGER),
    highWater,
    lowWater,
    ttlMs: wholeNumber('options.store.ttlMs', value.ttlMs ?? 30 * 86_400_000, 1000, 2 ** 45),
  }
}

/** The limits after a change. @throws TypeError, RangeError that name the key; nothing has changed then */
export function changedLimits(now: PeerLimits, change: PeerLimitChange): PeerLimits {
  refuseUnknown('limits', change, limitKeys)
  return limitSetting('limits', { ...now, ...change })
}

const limitKeys = [
  'concurrency',
  'uploadSlots',
  'uploadBytesPerSecond',
  'downloadBytesPerSecond',
  'memoryBytesMax',
  'parentsTimeoutMs',
  'pieceTimeoutMs',
] as const satisfies readonly (keyof LimitOptions)[]

function limitSetting(name: string, value: PeerLimitChange): PeerLimits {
  const number = (key: keyof LimitOptions, fallback: number, min: number, max: number): number =>
    wholeNumber(`${name}.${key}`, value[key] ?? fallback, min, max)
  refuseUnknown(name, value, limitKeys)
  return Object.freeze({
    concurrency: number('concurrency', limitDefaults.concurrency, 1, concurrencyMax),
    uploadSlots: number('uploadSlots', limitDefaults.uploadSlots, 1, 4096),
    uploadBytesPerSecond: rate(`${name}.uploadBytesPerSecond`, value.uploadBytesPerSecond),
    downloadBytesPerSecond: rate(`${name}.downloadBytesPerSecond`, value.downloadBytesPerSecond),
    memoryBytesMax: number(
      'memoryBytesMax',
      Math.floor(os.totalmem() / 2),
      1,
      Number.MAX_SAFE_INTEGER,
    ),
    parentsTimeoutMs: number('parentsTimeoutMs', limitDefaults.parentsTimeoutMs, 100, 86_400_000),
    pieceTimeoutMs: number('pieceTimeoutMs', limitDefaults.pieceTimeoutMs, 1000, 86_400_000),
  })
}

/** Bytes per second; undefined is no limit. */
export function rate(name: string, value: number | undefined): number | undefined {
  if (value === undefined) return undefined
  return wholeNumber(name, value, rateMin, Number.MAX_SAFE_INTEGER)
}

function literal(name: string, value: unknown): string {
  const given = text(name, value, 64)
  if (isIP(given) === 0) throw new RangeError(`${name} must be a literal IP address`)
  return given
}

function share(name: string, value: unknown): number {
  if (typeof value !== 'number') throw new TypeError(`${name} must be a number`)
  if (!(value > 0 && value <= 1)) throw new RangeError(`${name} must be above 0 and at most 1`)
  return value
}

function list<T>(name: string, value: unknown, of: 'function' | 'object'): readonly T[] {
  if (!Array.isArray(value)) throw new TypeError(`${name} must be an array, got ${describe(value)}`)
  for (const [at, item] of value.entries()) {
    if (typeof item !== of || item === null) throw new TypeError(`${name}[${at}] must be a ${of}`)
  }
  return Object.freeze([...value]) as readonly T[]
}
