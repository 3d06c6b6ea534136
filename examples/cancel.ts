/**
 * How a download ends early: cancelled it rejects with the reason that was given, and what fails says so by a code with its facts.
 *
 *   node build/examples/cancel.js [URL]
 */
import { Peer, PeerError } from 'dragonfly-peer'
import { input } from './input.ts'

await using peer = await Peer.start({
  store: 'memory',
  limits: { downloadBytesPerSecond: 256 * 1024 },
})

const controller = new AbortController()
const download = peer.download(input, { signal: controller.signal })
const reason = new Error('Changed my mind')
setImmediate(() => controller.abort(reason))
try {
  await download.done
} catch (error) {
  console.log(`Rejected with the very reason: ${error === reason}`)
}

try {
  await peer.download(new URL('no-such-file', input)).bytes()
} catch (error) {
  // Which details there are follows from the code.
  if (!PeerError.is(error, 'ORIGIN_NOT_FOUND')) throw error
  console.log(`${error.code}: ${error.message}, ${error.details.url}`)
}
