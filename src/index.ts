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
  type DownloadLimitChange,
  type DownloadLimits,
  type DownloadOptions,
  type DownloadProgress,
  type HostOptions,
  type LimitOptions,
  type ListenOptions,
  limitDefaults,
  type PeerLimitChange,
  type PeerLimits,
  type PeerOptions,
  type SeedOptions,
  type StoreOptions,
  type TaskInfo,
  type TlsOptions,
  type Traffic,
  type Writable,
  type WriteOptions,
} from './peer/options.ts'
export { Peer } from './peer/peer.ts'
export { Seeding } from './peer/seeding.ts'
export type { PeerUsage } from './peer/usage.ts'
export { file } from './source/file.ts'
export type { HttpTls } from './source/connections.ts'
export { type HttpOptions, http } from './source/http.ts'
export type { Source, SourceEntry, SourceRead, SourceRequest } from './source/source.ts'
export type { StoreUsage } from './storage/store.ts'
export type { TaskKind } from './task/kind.ts'
export type { Piece } from './task/piece.ts'
export type {
  OpenPiece,
  OriginStat,
  Parent,
  ParentAddress,
  PieceEndpoint,
  PieceReader,
  PieceRequest,
  Received,
  Shelf,
  Slot,
} from './task/ports.ts'
export type {
  Lease,
  LeasedPiece,
  LeaseRequest,
  QueuePairEndpoint,
  RdmaControl,
  RdmaOffer,
  RdmaService,
} from './transport/rdma/control.ts'
export type { RdmaMachine } from './transport/rdma/machine.ts'
export {
  type Rdma,
  type RdmaDevice,
  type RdmaDevicePort,
  type RdmaGid,
  type RdmaOptions,
  type RdmaProbe,
  rdma,
} from './transport/rdma/rdma.ts'
export { type TcpOptions, tcp } from './transport/tcp/tcp.ts'
export type {
  PlaceGate,
  RateGate,
  Transport,
  TransportFactory,
  TransportHost,
} from './transport/transport.ts'
export type { Clock } from './util/clock.ts'
