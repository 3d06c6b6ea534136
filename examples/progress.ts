/**
 * How far a download is, and from where its bytes come. Called once for each piece that is kept.
 *
 *   node build/examples/progress.js [URL]
 */
import { Peer } from 'dragonfly-peer'
import { input } from './input.ts'

await using peer = await Peer.start({
  store: 'memory', // nothing is left from the last time
  limits: { downloadBytesPerSecond: 64 * 1024 * 1024 },
})

const download = peer.download(input, {
  onProgress({ bytes, bytesTotal, pieces, piecesTotal, traffic }) {
    const percent = Math.floor((100 * bytes) / bytesTotal)
    const filled = Math.floor(percent / 5)
    console.log(
      `${'#'.repeat(filled).padEnd(20, '.')} ${percent} %`,
      `piece ${pieces} of ${piecesTotal}, ${traffic.source} bytes from the origin`,
    )
  },
})
const { length } = await download.done
console.log(`${length} bytes are kept`)
