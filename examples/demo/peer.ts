/** One peer of the demo, in a process of its own. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Peer, type TaskInfo } from 'dragonfly-peer'
import { fileFacts } from './file-facts.ts'
import type { Report } from './messages.ts'
import { obey, report } from './obey.ts'

let peer: Peer | undefined
let folder = ''

obey(async (order) => {
  switch (order.is) {
    case 'join': {
      folder = order.folder
      peer = await Peer.start({
        store: { dir: join(folder, 'store') },
        ...(order.scheduler === undefined ? { seedPeer: true } : { scheduler: order.scheduler }),
      })
      return { is: 'joined', scheduler: peer.schedulerAddress }
    }
    case 'download':
      if (peer === undefined) throw new Error('The peer has not joined')
      return download(peer, order.urls)
    case 'close':
      await peer?.close()
      return undefined
    default:
      throw new Error(`A peer cannot ${order.is}`)
  }
})

async function download(from: Peer, urls: readonly string[]): Promise<Report> {
  const begun = performance.now()
  const outputs = join(folder, 'files')
  await mkdir(outputs)
  const bytes = urls.map(() => 0)
  const paths = urls.map((_, at) => join(outputs, String(at)))
  const tasks = await Promise.all(
    urls.map(async (url, at): Promise<TaskInfo> => {
      const one = from.download(url, {
        onProgress(progress) {
          bytes[at] = progress.bytes
          report({ is: 'progress', bytes: sum(bytes) })
        },
      })
      return one.toFile(paths[at] ?? '')
    }),
  )
  const seconds = (performance.now() - begun) / 1000
  report({ is: 'progress', bytes: sum(tasks.map((task) => task.length)) })
  return {
    is: 'downloaded',
    seconds,
    sourceBytes: sum(tasks.map(({ traffic }) => traffic.source)),
    peerBytes: sum(tasks.map(({ traffic }) => traffic.peers)),
    files: await Promise.all(paths.map(fileFacts)),
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
