import { parseDigest } from '../hash/digest.ts'
import { isTaskId, standardTaskId } from '../hash/task-id.ts'
import { defaultFilteredQueryParams, sharedQueryParams } from '../hash/task-url.ts'
import { pieceLengthMax, pieceLengthMin, type Range } from '../task/piece.ts'
import type { TaskSpec } from '../task/ports.ts'
import { describe, oneOf, refuseUnknown, text, wholeNumber } from '../util/settings.ts'
import type {
  DownloadLimitChange,
  DownloadLimits,
  DownloadOptions,
  DownloadProgress,
  SeedOptions,
  WriteOptions,
} from './options.ts'
import { concurrencyMax, rate } from './settings.ts'

/** Shortest and longest time to live of a written file; Dragonfly's schedulers accept no other (wire tables, UploadPersistentCacheTaskStarted). */
export const writeTtlMsMin: number = 5 * 60_000
/** See `writeTtlMsMin`. */
export const writeTtlMsMax: number = 7 * 86_400_000
/** Most headers and filtered query parameters that one download may have. */
export const listMax: number = 256

/** What a download names: a URL, or a task by its id. */
export type Target = string | URL | { readonly task: string }

/** `DownloadOptions`, complete and checked, with the task they name. */
export interface DownloadSettings {
  /** For a download by id the kind and URL are not known yet: `lookup` is true and the spec is completed from what the scheduler knows. */
  readonly spec: TaskSpec
  readonly lookup: boolean
  readonly range: Range | undefined
  readonly backToSource: 'allow' | 'never'
  readonly store: 'disk' | 'memory' | undefined
  readonly into: Uint8Array | undefined
  /** As the download begins. */
  readonly limits: DownloadLimits
  readonly signal: AbortSignal | undefined
  readonly onProgress: ((progress: DownloadProgress) => void) | undefined
}

/** Checks what `download()` was called with. @throws TypeError, RangeError, PeerError INVALID_URL */
export function downloadSettings(target: Target, options: DownloadOptions = {}): DownloadSettings {
  refuseUnknown('options', options, [
    'range',
    'digest',
    'pieceLength',
    'tag',
    'application',
    'filteredQueryParams',
    'headers',
    'priority',
    'backToSource',
    'store',
    'into',
    'concurrency',
    'downloadBytesPerSecond',
    'signal',
    'onProgress',
  ])
  const range = options.range === undefined ? undefined : rangeSetting(options.range)
  if (options.digest !== undefined) {
    parseDigest(text('options.digest', options.digest), 'options.digest')
    if (range !== undefined)
      throw new TypeError('options.digest needs the whole content, not a range')
  }
  if (options.into !== undefined && !(options.into instanceof Uint8Array)) {
    throw new TypeError(`options.into must be a Uint8Array, got ${describe(options.into)}`)
  }
  if (options.into !== undefined && options.store === 'disk') {
    throw new TypeError("options.into keeps the pieces in memory: options.store cannot be 'disk'")
  }
  if (options.onProgress !== undefined && typeof options.onProgress !== 'function') {
    throw new TypeError('options.onProgress must be a function')
  }
  const lookup = typeof target === 'object' && !(target instanceof URL)
  return {
    spec: lookup ? idSpec(target, options) : urlSpec(target, options),
    lookup,
    range,
    backToSource: oneOf('options.backToSource', options.backToSource ?? 'allow', [
      'allow',
      'never',
    ] as const),
    store:
      options.store === undefined
        ? undefined
        : oneOf('options.store', options.store, ['disk', 'memory'] as const),
    into: options.into,
    limits: limitSetting('options', options),
    signal: abortSignal(options.signal),
    onProgress: options.onProgress,
  }
}

/** The limits after a change. @throws TypeError, RangeError that name the key; nothing has changed then */
export function changedDownloadLimits(
  now: DownloadLimits,
  change: DownloadLimitChange,
): DownloadLimits {
  refuseUnknown('limits', change, ['concurrency', 'downloadBytesPerSecond'])
  return limitSetting('limits', { ...now, ...change })
}

function limitSetting(
  name: string,
  { concurrency, downloadBytesPerSecond }: DownloadLimitChange,
): DownloadLimits {
  return Object.freeze({
    concurrency:
      concurrency === undefined
        ? undefined
        : wholeNumber(`${name}.concurrency`, concurrency, 1, concurrencyMax),
    downloadBytesPerSecond: rate(`${name}.downloadBytesPerSecond`, downloadBytesPerSecond),
  })
}

/** `WriteOptions`, complete and checked. @throws TypeError, RangeError */
export function writeSettings(options: WriteOptions = {}): {
  readonly ttlMs: number
  readonly replicas: number
  readonly tag: string | undefined
  readonly application: string | undefined
  readonly pieceLength: number | undefined
  readonly signal: AbortSignal | undefined
} {
  refuseUnknown('options', options, [
    'ttlMs',
    'replicas',
    'tag',
    'application',
    'pieceLength',
    'signal',
  ])
  return {
    ttlMs: wholeNumber('options.ttlMs', options.ttlMs ?? 86_400_000, writeTtlMsMin, writeTtlMsMax),
    replicas: wholeNumber('options.replicas', options.replicas ?? 2, 1, 5),
    tag: optionalText('options.tag', options.tag),
    application: optionalText('options.application', options.application),
    pieceLength: pieceLengthSetting(options.pieceLength),
    signal: abortSignal(options.signal),
  }
}

/** Checks what `seed()` was called with. @throws TypeError, RangeError, PeerError INVALID_URL */
export function seedSettings(
  path: string | URL,
  options: SeedOptions,
): {
  readonly path: string | URL
  readonly spec: TaskSpec
  readonly signal: AbortSignal | undefined
} {
  refuseUnknown('options', options, [
    'url',
    'tag',
    'application',
    'filteredQueryParams',
    'pieceLength',
    'signal',
  ])
  if (!(path instanceof URL)) text('path', path)
  const { signal, ...rest } = options
  return { path, spec: urlSpec(options.url, rest), signal: abortSignal(signal) }
}

function idSpec(target: { readonly task: string }, options: DownloadOptions): TaskSpec {
  refuseUnknown('target', target, ['task'])
  if (!isTaskId(target.task)) {
    throw new TypeError(
      `target.task must be 64 lower-case hex digits, got ${describe(target.task)}`,
    )
  }
  for (const key of ['tag', 'application', 'filteredQueryParams', 'pieceLength'] as const) {
    if (options[key] !== undefined) {
      throw new TypeError(`options.${key} is a part of the task's id and cannot be given with it`)
    }
  }
  return {
    id: target.task,
    kind: 'persistentCache',
    filteredQueryParams: [],
    headers: headersSetting(options.headers ?? {}),
    priority: wholeNumber('options.priority', options.priority ?? 6, 0, 6),
    ...(options.digest === undefined ? {} : { digest: options.digest }),
  }
}

function urlSpec(target: unknown, options: DownloadOptions & { readonly url?: string }): TaskSpec {
  if (typeof target !== 'string' && !(target instanceof URL)) {
    throw new TypeError(`A URL or { task } is needed, got ${describe(target)}`)
  }
  const url = String(target)
  const names = (options.filteredQueryParams ?? defaultFilteredQueryParams).map((name, at) =>
    text(`options.filteredQueryParams[${at}]`, name, 256),
  )
  const filteredQueryParams = sharedQueryParams(names)
  wholeNumber('options.filteredQueryParams.length', filteredQueryParams.length, 0, listMax)
  const tag = optionalText('options.tag', options.tag)
  const application = optionalText('options.application', options.application)
  const pieceLength = pieceLengthSetting(options.pieceLength)
  return {
    id: standardTaskId({ url, tag, application, pieceLength, filteredQueryParams }),
    kind: 'standard',
    url,
    filteredQueryParams,
    headers: headersSetting(options.headers ?? {}),
    priority: wholeNumber('options.priority', options.priority ?? 6, 0, 6),
    ...(tag === undefined ? {} : { tag }),
    ...(application === undefined ? {} : { application }),
    ...(pieceLength === undefined ? {} : { pieceLength }),
    ...(options.digest === undefined ? {} : { digest: options.digest }),
  }
}

function rangeSetting(value: { readonly start: number; readonly length: number }): Range {
  refuseUnknown('options.range', value, ['start', 'length'])
  return {
    start: wholeNumber('options.range.start', value.start, 0, Number.MAX_SAFE_INTEGER),
    length: wholeNumber('options.range.length', value.length, 1, Number.MAX_SAFE_INTEGER),
  }
}

function headersSetting(value: unknown): Readonly<Record<string, string>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError(`options.headers must be an object, got ${describe(value)}`)
  }
  const entries = Object.entries(value)
  wholeNumber('options.headers.length', entries.length, 0, listMax)
  for (const [name, content] of entries) {
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) {
      throw new TypeError('options.headers has a name that HTTP does not allow')
    }
    if (typeof content !== 'string' || /[\r\n\0]/.test(content)) {
      throw new TypeError(`options.headers.${name} must be a string without line breaks`)
    }
  }
  return Object.freeze(Object.fromEntries(entries) as Record<string, string>)
}

function pieceLengthSetting(value: number | undefined): number | undefined {
  if (value === undefined) return undefined
  return wholeNumber('options.pieceLength', value, pieceLengthMin, pieceLengthMax)
}

function optionalText(name: string, value: string | undefined): string | undefined {
  return value === undefined || value === '' ? undefined : text(name, value, 1024)
}

function abortSignal(value: AbortSignal | undefined): AbortSignal | undefined {
  if (value !== undefined && !(value instanceof AbortSignal)) {
    throw new TypeError(`options.signal must be an AbortSignal, got ${describe(value)}`)
  }
  return value
}
