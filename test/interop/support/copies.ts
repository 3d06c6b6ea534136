import { rmSync } from 'node:fs'
import type { DownloadOptions, Peer, TaskInfo } from '../../../src/index.ts'
import type { Ending } from '../../support/cleanup.ts'
import type { Origin } from '../../support/origin.ts'
import { verifyFile } from '../../support/verify.ts'
import type { DaemonProgram } from './daemon-program.ts'
import type { CaseFacts } from './matrix.ts'
import type { Site } from './site.ts'
import { dfget } from './tool.ts'

const mebibyte = 1024 * 1024

/** Lengths that are tried, with the name of each. The last is above what a signed number of 32 bits holds and has pieces of 8 MiB. */
export const lengths: readonly { readonly name: string; readonly length: number }[] = [
  { name: '0 bytes', length: 0 },
  { name: '1 byte', length: 1 },
  { name: '4 MiB - 1', length: 4 * mebibyte - 1 },
  { name: '4 MiB', length: 4 * mebibyte },
  { name: '4 MiB + 1', length: 4 * mebibyte + 1 },
  { name: '100 MiB + 7', length: 100 * mebibyte + 7 },
  { name: '2.2 GB', length: 2_200_000_011 },
]

/** Real clients ask the scheduler only about content that is longer. */
export const aloneBytesMax: number = 4 * mebibyte

/** `lengths` of which real clients tell the scheduler by themselves. */
export const sharedLengths: typeof lengths = lengths.filter(({ length }) => length > aloneBytesMax)

/** The others. */
export const aloneLengths: typeof lengths = lengths.filter(({ length }) => length <= aloneBytesMax)

/** A place and a way to a copy. */
export interface CopyOptions {
  readonly site: Site
  readonly served: Origin
  /** Measures the transfer. @defaultValue not measured */
  readonly facts?: CaseFacts
}

/** Lets `dfget` fetch everything through a real daemon and checks each byte. The daemon keeps it, the output is removed. */
export async function realCopy(
  t: Ending,
  daemon: DaemonProgram,
  { site, served, facts }: CopyOptions,
  { backToSource = true }: { readonly backToSource?: boolean } = {},
): Promise<void> {
  const output = site.path('real')
  const { tookMs } = await dfget(t, daemon.socketPath, served.url, { output, backToSource }).done()
  facts?.took(tookMs)
  await verifyFile(output, served.content)
  rmSync(output)
}

/** Downloads with a peer of ours to a file and checks each byte of it. The peer keeps it, the file is removed. */
export async function ourCopy(
  peer: Peer,
  { site, served, facts }: CopyOptions,
  options: DownloadOptions = {},
): Promise<TaskInfo> {
  const path = site.path('ours')
  const start = performance.now()
  const info = await peer.download(served.url, options).toFile(path)
  facts?.took(performance.now() - start)
  const { start: offset, length } = options.range ?? { start: 0, length: served.content.length }
  await verifyFile(path, served.content, offset, length)
  rmSync(path)
  return info
}

/** What was fetched since `before`. */
export function since<T extends { source: number; peers: number; local: number }>(
  before: T,
  now: T,
): { readonly source: number; readonly peers: number; readonly local: number } {
  return {
    source: now.source - before.source,
    peers: now.peers - before.peers,
    local: now.local - before.local,
  }
}
