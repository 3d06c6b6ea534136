import { standardTaskId } from '../../hash/task-id.ts'
import { millisOf } from '../../rpc/convert.ts'
import { type Download, TaskType } from '../../rpc/gen/common/v2/common_pb.ts'
import type { DownloadPersistentCacheTaskRequest } from '../../rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { downloadSettings } from '../download-settings.ts'
import type { Want } from '../tasks.ts'
import { checked, invalid, unsupported } from './failure.ts'
import { refuseHints } from './hints.ts'
import { type OutputWish, outputWish } from './output-place.ts'
import { rangeWish } from './range-header.ts'

/** What a tool ordered, in our terms. */
export interface Order {
  readonly want: Want
  /** Only so many bytes from the end: the range follows when the length is known. */
  readonly lastBytes?: number
  readonly output?: OutputWish
  /** The pieces travel with their bytes. */
  readonly content: boolean
  readonly timeoutMs?: number
  /** The whole content is fetched behind the wanted range. */
  readonly prefetch: boolean
  /** The copy here is one of those that the network keeps. */
  readonly pinned: boolean
}

/** Reads a `Download` of a tool. @throws ConnectError InvalidArgument, FailedPrecondition, Unimplemented */
export function downloadOrder(download: Download | undefined): Order {
  if (download === undefined) throw invalid('The download is missing')
  refuseOthers(download)
  const { range, lastBytes } = rangeOf(download)
  const output = outputWish(download)
  if (output?.hardLink === true && (range ?? lastBytes) !== undefined) {
    throw invalid('A range is no hard link')
  }
  const { digest, tag, application, pieceLength, filteredQueryParams, priority } = download
  const headers = withoutRange(download.requestHeader)
  const hasDigest = digest !== undefined && digest !== ''
  if (hasDigest && lastBytes !== undefined) {
    throw invalid('digest needs the whole content, not a range')
  }
  const { spec } = checked(() =>
    downloadSettings(download.url, {
      filteredQueryParams,
      headers,
      priority,
      ...(tag === undefined ? {} : { tag }),
      ...(application === undefined ? {} : { application }),
      ...(pieceLength === undefined || pieceLength === 0n
        ? {}
        : { pieceLength: Number(pieceLength) }),
      ...(hasDigest ? { digest } : {}),
      ...(range === undefined ? {} : { range }),
    }),
  )
  const { backToSource, ...rest } = wanted(download.disableBackToSource)
  return {
    want: {
      ...rest,
      backToSource,
      spec: { ...spec, id: idOf(download, spec) },
      range,
      lookup: false,
    },
    content: download.needPieceContent,
    prefetch: download.prefetch && (range ?? lastBytes) !== undefined,
    pinned: false,
    ...timeout(download),
    ...(output === undefined ? {} : { output }),
    ...(lastBytes === undefined ? {} : { lastBytes }),
  }
}

/** Reads an export of a written file. @throws ConnectError InvalidArgument */
export function exportOrder(request: DownloadPersistentCacheTaskRequest): Order {
  const { taskId, digest } = request
  const output = outputWish(request)
  const { spec } = checked(() =>
    downloadSettings({ task: taskId }, digest === undefined || digest === '' ? {} : { digest }),
  )
  return {
    want: { ...wanted(true), spec, range: undefined, lookup: true },
    content: request.needPieceContent,
    prefetch: false,
    pinned: request.persistent,
    ...timeout(request),
    ...(output === undefined ? {} : { output }),
  }
}

function wanted(never: boolean): Pick<Want, 'backToSource' | 'needBackToSource' | 'place'> {
  return {
    backToSource: never ? 'never' : 'allow',
    needBackToSource: false,
    place: { is: 'store' },
  }
}

function refuseOthers(download: Download): void {
  if (download.type !== TaskType.STANDARD) {
    throw unsupported('Only standard tasks are downloaded with DownloadTask')
  }
  if (download.certificateChain.length > 0) {
    throw unsupported('certificate_chain is not supported: give certificates to the source')
  }
  refuseHints(download)
}

/** The id by the same rules as a daemon's: a text of the tool's, else the digest in a registry's URL when asked for, else the URL. */
function idOf(download: Download, spec: Want['spec']): string {
  const { contentForCalculatingTaskId: content, enableTaskIdBasedBlobDigest: blobDigest } = download
  const hub = download.huggingFace ?? download.modelScope ?? download.openCsg
  if (content === undefined && !blobDigest && hub === undefined) return spec.id
  const { url = '', tag, application, pieceLength, filteredQueryParams } = spec
  return checked(() =>
    standardTaskId({
      url,
      content,
      blobDigest,
      tag,
      application,
      pieceLength,
      filteredQueryParams,
      revision: hub?.revision,
    }),
  )
}

/** The field counts before the header. */
function rangeOf(download: Download): Pick<Want, 'range'> & { readonly lastBytes?: number } {
  if (download.range !== undefined) {
    const { start, length } = download.range
    return { range: { start: Number(start), length: Number(length) } }
  }
  const header = Object.entries(download.requestHeader).find(([name]) => isRange(name))
  if (header === undefined) return { range: undefined }
  const wish = rangeWish(header[1])
  return wish.is === 'part' ? { range: wish.range } : { range: undefined, lastBytes: wish.length }
}

/** The origin is asked for the ranges of pieces. */
function withoutRange(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !isRange(name)))
}

function isRange(name: string): boolean {
  return name.toLowerCase() === 'range'
}

function timeout({ timeout: given }: Pick<Download, 'timeout'>): Pick<Order, 'timeoutMs'> {
  const timeoutMs = millisOf(given)
  return timeoutMs === undefined || timeoutMs === 0 ? {} : { timeoutMs }
}
