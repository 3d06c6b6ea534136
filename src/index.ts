/**
 * A full Dragonfly v2 peer inside a Node.js process.
 *
 * @packageDocumentation
 */
export { type ErrorCode, type ErrorDetails, PeerError } from './errors.ts'
export { type HookMessages, type HookName, publish } from './hooks.ts'
export { Download, type ToFileOptions } from './peer/download.ts'
export { type Target, writeTtlMsMax, writeTtlMsMin } from './peer/download-settings.ts'
export {
  type DownloadOptions,
  type DownloadProgress,
  type HostOptions,
  type LimitOptions,
  type ListenOptions,
  limitDefaults,
  type PeerOptions,
  type SeedOptions,
  type StoreOptions,
  type TaskInfo,
  type Traffic,
  type Writable,
  type WriteOptions,
} from './peer/options.ts'
export { Peer } from './peer/peer.ts'
export { Seeding } from './peer/seeding.ts'
export { file } from './source/file.ts'
export { type HttpOptions, http } from './source/http.ts'
export type { Source, SourceRead, SourceRequest } from './source/source.ts'
export type { OriginStat } from './task/ports.ts'
export { type TcpOptions, tcp } from './transport/tcp/tcp.ts'
export type { Transport, TransportFactory, TransportHost } from './transport/transport.ts'
