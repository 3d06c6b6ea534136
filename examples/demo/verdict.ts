import type { FileFacts, Report } from './messages.ts'
import { megabytes, table } from './screen.ts'

/** What the origin may send, as a multiple of the content. */
const originShareMax = 1.05

/** How a demo ended: a table for the reader, and whether all is right. */
export function verdict(
  names: readonly string[],
  downloaded: readonly Extract<Report, { readonly is: 'downloaded' }>[],
  { bytes, files }: Extract<Report, { readonly is: 'counted' }>,
): { readonly text: string; readonly right: boolean } {
  const length = files.reduce((sum, file) => sum + file.length, 0)
  const rows = downloaded.map((peer, number) => [
    names[number] ?? '',
    megabytes(peer.sourceBytes),
    megabytes(peer.peerBytes),
    `${peer.seconds.toFixed(2)} s`,
    `${megabytes(length / peer.seconds)}/s`,
    same(peer.files, files) ? 'as the origin' : 'WRONG',
  ])
  const head = ['', 'from the origin', 'from peers', 'time', 'speed', 'SHA-256']
  const share = length === 0 ? 0 : bytes / length
  const copies = downloaded.every((peer) => same(peer.files, files))
  const right = copies && share <= originShareMax
  const text = [
    table([head, ...rows]),
    '',
    ...files.map((file) => `${file.sha256}  ${megabytes(file.length)}`),
    `The origin sent ${megabytes(bytes)} in all, ${share.toFixed(3)} times the content; ` +
      `at most ${originShareMax} is right.`,
    right ? 'All is right.' : 'Something is WRONG.',
  ]
  return { text: text.join('\n'), right }
}

function same(files: readonly FileFacts[], wanted: readonly FileFacts[]): boolean {
  return (
    files.length === wanted.length &&
    files.every(
      (file, at) => file.sha256 === wanted[at]?.sha256 && file.length === wanted[at].length,
    )
  )
}
