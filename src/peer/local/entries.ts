import type { MessageInitShape } from '@bufbuild/protobuf'
import type {
  ListTaskEntriesRequest,
  ListTaskEntriesResponseSchema,
} from '../../rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import type { World } from '../world.ts'
import { checked, unsupported } from './failure.ts'
import { refuseHints } from './hints.ts'

/**
 * Answers ListTaskEntries: what lies below a directory of an origin. A URL without a slash at its end is no directory, and has no entries.
 *
 * @throws ConnectError Unimplemented when the source cannot list; PeerError the ORIGIN_ codes, UNKNOWN_SCHEME, INVALID_URL, FOREIGN, LIMIT_REACHED
 */
export async function listEntries(
  { sources }: World,
  request: ListTaskEntriesRequest,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof ListTaskEntriesResponseSchema>> {
  const { url, requestHeader: headers } = request
  if (request.certificateChain.length > 0) {
    throw unsupported('certificate_chain is not supported: give certificates to the source')
  }
  refuseHints(request)
  const origin = checked(() => sources.bind({ url, headers }))
  const { pathname, protocol } = new URL(url)
  if (!pathname.endsWith('/')) {
    const { length = 0, headers: responseHeader } = await origin.stat(signal)
    return { contentLength: BigInt(length), responseHeader: { ...responseHeader } }
  }
  if (!origin.lists) throw unsupported(`The source for ${protocol.slice(0, -1)} cannot list`)
  const entries = await origin.list(signal)
  return {
    entries: entries.map((entry) => ({
      url: entry.url,
      contentLength: BigInt(entry.length),
      isDir: entry.isDirectory,
    })),
  }
}
