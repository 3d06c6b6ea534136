/** Webtorrent in a process of its own: it seeds a file, or downloads one. Plain TCP between two clients that know each other, nothing else. */
import { rmSync } from 'node:fs'
import { register } from 'node:module'
import { dirname } from 'node:path'
import { pathToFileURL } from 'node:url'
import { webtorrentEntry } from './webtorrent-install.ts'

/** What a benchmark tells this process. */
export type TorrentOrder =
  | { readonly is: 'seed'; readonly path: string }
  | {
      readonly is: 'download'
      /** The torrent file, in base64. */
      readonly torrent: string
      readonly folder: string
      readonly port: number
    }

/** What it answers. */
export interface TorrentAnswer {
  readonly seconds: number
  readonly torrent: string
  readonly port: number
}

/** The part of webtorrent that is used. */
interface Torrent {
  readonly torrentFile: Uint8Array
  on(event: 'ready' | 'done', listener: () => void): void
  addPeer(address: string): void
}
interface Client {
  readonly torrentPort: number
  on(event: 'error', listener: (error: Error) => void): void
  seed(path: string, options: object, done: (torrent: Torrent) => void): void
  add(torrent: Uint8Array, options: object): Torrent
  destroy(done: () => void): void
}

const options = {
  dht: false,
  tracker: false,
  lsd: false,
  utPex: false,
  natUpnp: false,
  natPmp: false,
  utp: false,
  webSeeds: false,
}

process.on('message', (order: TorrentOrder) => {
  void act(order).then((answer) => process.send?.(answer))
})
process.once('disconnect', () => process.exit())

async function act(order: TorrentOrder): Promise<TorrentAnswer> {
  const client = await newClient()
  if (order.is === 'seed') {
    // In place: a copy that it makes itself it cannot serve.
    const path = dirname(order.path)
    const torrent = await new Promise<Torrent>((resolve) => {
      client.seed(order.path, { announce: [], path }, resolve)
    })
    const text = Buffer.from(torrent.torrentFile).toString('base64')
    return { seconds: 0, torrent: text, port: client.torrentPort }
  }
  const begun = performance.now()
  const torrent = client.add(Buffer.from(order.torrent, 'base64'), {
    announce: [],
    path: order.folder,
  })
  torrent.on('ready', () => torrent.addPeer(`127.0.0.1:${order.port}`))
  await new Promise<void>((resolve) => torrent.on('done', resolve))
  const seconds = (performance.now() - begun) / 1000
  await new Promise<void>((resolve) => client.destroy(resolve))
  rmSync(order.folder, { recursive: true, force: true })
  return { seconds, torrent: '', port: 0 }
}

async function newClient(): Promise<Client> {
  withoutWebRtc()
  const module = (await import(pathToFileURL(webtorrentEntry).href)) as {
    readonly default: new (with_: object) => Client
  }
  const client = new module.default(options)
  client.on('error', (error) => {
    throw error
  })
  return client
}

/** It wants an addon for WebRTC, which is compiled or downloaded at install and has no part in TCP: an empty module takes its place. */
function withoutWebRtc(): void {
  const script = (text: string): string => `data:text/javascript,${encodeURIComponent(text)}`
  const names = 'RTCPeerConnection, RTCIceCandidate, RTCSessionDescription'
  const empty = script(`export let ${names}`)
  register(
    script(`export async function resolve(name, context, next) {
      if (name === 'webrtc-polyfill') return { url: ${JSON.stringify(empty)}, shortCircuit: true }
      return next(name, context)
    }`),
  )
}
