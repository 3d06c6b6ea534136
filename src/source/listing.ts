import { PeerError } from '../errors.ts'
import { describe } from '../util/settings.ts'
import { parseUrl, redactUrl } from './redact.ts'
import type { SourceEntry } from './source.ts'

/** Most entries of one directory, those of the directories in it included. An entry takes about 200 bytes, and up to 16 KiB. */
export const listedEntriesMax = 10_000
/** Longest URL of an entry, in characters. */
export const entryUrlLengthMax: number = 4096

/**
 * What a source listed, copied, when it lies below the directory. Whoever fetches a directory makes paths of these URLs on its own disk, and decodes them
 * for that: so no decoded part may climb or hold a separator.
 *
 * @throws PeerError ORIGIN_PROTOCOL
 */
export function checkedEntry(entry: unknown, directory: URL): SourceEntry {
  if (typeof entry !== 'object' || entry === null) {
    throw wrong(directory, 'an entry', describe(entry))
  }
  const { url, length, isDirectory } = entry as Record<keyof SourceEntry, unknown>
  if (typeof isDirectory !== 'boolean') {
    throw wrong(directory, 'isDirectory to be a boolean', describe(isDirectory))
  }
  if (typeof length !== 'number' || !Number.isSafeInteger(length) || length < 0) {
    throw wrong(directory, 'length to be a whole number', describe(length))
  }
  if (typeof url !== 'string' || url.length > entryUrlLengthMax) {
    throw wrong(directory, `a URL of at most ${entryUrlLengthMax} characters`, describe(url))
  }
  const parsed = parseUrl(url)
  if (parsed === undefined || !below(parsed, directory)) {
    throw wrong(directory, 'entries below the directory', 'one that is not')
  }
  if (parsed.pathname.endsWith('/') !== isDirectory) {
    throw wrong(directory, 'URLs of directories, and no others, to end with a slash', 'another')
  }
  return { url: parsed.href, length, isDirectory }
}

function below(url: URL, directory: URL): boolean {
  if (url.protocol !== directory.protocol || url.host !== directory.host) return false
  if (!url.pathname.startsWith(directory.pathname)) return false
  const rest = url.pathname.slice(directory.pathname.length)
  const names = (rest.endsWith('/') ? rest.slice(0, -1) : rest).split('/')
  return names.every(isName)
}

function isName(encoded: string): boolean {
  try {
    const name = decodeURIComponent(encoded)
    return name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name)
  } catch {
    // Not UTF-8 once decoded: no path can be made of it with certainty.
    return false
  }
}

function wrong(directory: URL, expected: string, actual: string): PeerError<'ORIGIN_PROTOCOL'> {
  return new PeerError('ORIGIN_PROTOCOL', `list() must give ${expected}, got ${actual}`, {
    url: redactUrl(directory),
    expected,
    actual,
  })
}
