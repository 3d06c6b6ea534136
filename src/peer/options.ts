import type { Source } from '../source/source.ts'
import type { TransportFactory } from '../transport/transport.ts'

/** How a peer is started. Every field is optional; `peerDefaults` holds what is taken instead. */
export interface PeerOptions {
  /**
   * Who schedules: `'embedded'` runs a scheduler inside this peer, an address (`host:port`) or several join an existing one,
   * `{ manager }` asks a Dragonfly manager for the schedulers.
   * @defaultValue `'embedded'`
   */
  readonly scheduler?: 'embedded' | string | readonly string[] | { readonly manager: string }
  /**
   * Whether the scheduler may send this peer to an origin on behalf of others.
   * @defaultValue `false`
   */
  readonly seedPeer?: boolean
  /** How this host is known to others. */
  readonly host?: HostOptions
  /** Where this peer is reached. */
  readonly listen?: ListenOptions
  /**
   * Where pieces stay: `'memory'`, or a folder with its limits.
   * @defaultValue a folder of this user's cache, a separate one for each process
   */
  readonly store?: 'memory' | StoreOptions
  /**
   * Ways for pieces to travel, the preferred first.
   * @defaultValue `[tcp()]`
   */
  readonly transports?: readonly TransportFactory[]
  /** Further sources. One that takes a built-in scheme (`http`, `https`, `file`) replaces it. */
  readonly sources?: readonly Source[]
  /** How much this peer takes on at once. */
  readonly limits?: LimitOptions
  /** Mutual TLS for everything that speaks gRPC. @defaultValue clear text */
  readonly tls?: TlsOptions
  /**
   * Absolute path of a unix socket on which the command line tools of Dragonfly (`dfget`, `dfcache`, `dfctl`) find this peer; its folder must exist. Only
   * processes of this user can connect, and they can have files written, read and dropped with the rights of this process.
   * @defaultValue no socket
   */
  readonly socketPath?: string
}

/** How this host is known to others. */
export interface HostOptions {
  /**
   * Literal address that others reach this host by.
   * @defaultValue loopback when the scheduler runs on this machine, else the first external IPv4 address
   */
  readonly ip?: string
  /**
   * Together with `ip` this names the host; two peers with the same pair never exchange pieces.
   * @defaultValue the name of the machine with the port of the upload service
   */
  readonly hostname?: string
  /** Data centre: the scheduler prefers parents in the same one. */
  readonly idc?: string
  /** Place, from wide to narrow, separated by `|`: the scheduler prefers parents that share a longer part. */
  readonly location?: string
}

/** Where this peer is reached. Ports: 0 takes any free one. */
export interface ListenOptions {
  /**
   * Address to listen on; `0.0.0.0` or `::` for all.
   * @defaultValue the address of the host
   */
  readonly ip?: string
  /** Port of the gRPC upload service. @defaultValue `0` */
  readonly port?: number
  /** Port that pieces are served on. @defaultValue `0` */
  readonly tcpPort?: number
  /** Port of the embedded scheduler. @defaultValue `0` */
  readonly schedulerPort?: number
}

/** A folder for pieces, and its limits. */
export interface StoreOptions {
  /**
   * Folder, made if missing, used by one process at a time.
   * @defaultValue a numbered folder below `$XDG_CACHE_HOME/dragonfly-peer`
   */
  readonly dir?: string
  /** Most bytes that kept tasks may take. The free space of the disk is a limit too. @defaultValue 90 % of the file system */
  readonly bytesMax?: number
  /** Collection starts above this share of `bytesMax`. @defaultValue `0.9` */
  readonly highWater?: number
  /** Collection stops below this share. @defaultValue `0.7` */
  readonly lowWater?: number
  /** Tasks not used for this long are dropped. @defaultValue 30 days */
  readonly ttlMs?: number
}

/**
 * Mutual TLS for everything of a peer that speaks gRPC: its upload service and its embedded scheduler take only callers with a certificate of `ca`, and it shows
 * its own to schedulers, managers and other peers, whose certificates must be of `ca` too. TLS 1.2 at least. Every peer of a network needs it, or none. Pieces
 * themselves travel beside gRPC and stay in clear text; the unix socket does too.
 */
export interface TlsOptions {
  /** Who signs the certificates of this network: one certificate or several, PEM. */
  readonly ca: string | Uint8Array
  /**
   * Certificate of this host, PEM, with the ones between it and `ca` behind it. It is shown to callers and to those who are called. Hosts are reached by their
   * addresses, so it must name this one's (IP subject alternative name), unless everybody sets `serverName`.
   */
  readonly cert: string | Uint8Array
  /** Private key of `cert`, PEM, not encrypted. It appears in no error, event or `explain()`. */
  readonly key: string | Uint8Array
  /** Name that the certificates of all others must carry, in place of their address. @defaultValue the address that is called */
  readonly serverName?: string
  /** Whether callers with a valid certificate may have tasks deleted here. @defaultValue `true` */
  readonly deletes?: boolean
  /**
   * Folders below which callers with a valid certificate may have content written to a path (`output_path`), and replaced with `overwrite`. Absolute.
   * @defaultValue `[]`: nowhere
   */
  readonly outputDirs?: readonly string[]
}

/** How much a peer takes on at once. */
export interface LimitOptions {
  /** Pieces that one download fetches at once. Each costs one connection and up to 3 MiB of write-behind memory. @defaultValue `8` */
  readonly concurrency?: number
  /** Pieces sent to others at once; further requests wait in order. Each costs up to 1 MiB. @defaultValue `16` */
  readonly uploadSlots?: number
  /** Bytes per second for everything sent to other peers. @defaultValue no limit */
  readonly uploadBytesPerSecond?: number
  /** Bytes per second for everything fetched from other peers and origins. @defaultValue no limit */
  readonly downloadBytesPerSecond?: number
  /** Most bytes of content that lie in memory for `bytes()`, `into` and memory stores. @defaultValue half of the machine's memory */
  readonly memoryBytesMax?: number
  /** Milliseconds without a parent or a byte after which a download that may not use the origin gives up. @defaultValue `10 000` */
  readonly parentsTimeoutMs?: number
  /** Milliseconds without a new byte after which the fetch of a piece is given up, also when nobody else has it. @defaultValue `60 000` */
  readonly pieceTimeoutMs?: number
}

/** The limits of a peer as they are now; `undefined` is no limit. */
export interface PeerLimits {
  /** Pieces that one download fetches at a time. */
  readonly concurrency: number
  /** Pieces sent to other peers at a time, over all transports together. */
  readonly uploadSlots: number
  /** Everything sent to other peers, in bytes per second. */
  readonly uploadBytesPerSecond: number | undefined
  /** Everything fetched from peers and origins, in bytes per second. */
  readonly downloadBytesPerSecond: number | undefined
  /** Content that lies in memory, in bytes. */
  readonly memoryBytesMax: number
  /** How long a download that may not use the origin goes on without a parent or a byte, in milliseconds. */
  readonly parentsTimeoutMs: number
  /** How long the fetch of a piece may go on without a new byte, in milliseconds. */
  readonly pieceTimeoutMs: number
}

/** Limits to change: one that is left out stays as it is, one that is `undefined` takes its default again. */
export type PeerLimitChange = {
  readonly [Key in keyof LimitOptions]: LimitOptions[Key] | undefined
}

/** The limits of one download as they are now. `undefined`: those of its peer alone. */
export interface DownloadLimits {
  /** Pieces that it fetches at a time. */
  readonly concurrency: number | undefined
  /** What it fetches from peers and origins, in bytes per second. */
  readonly downloadBytesPerSecond: number | undefined
}

/** Limits to change: one that is left out stays as it is, one that is `undefined` is given up. */
export type DownloadLimitChange = { readonly [Key in keyof DownloadLimits]?: DownloadLimits[Key] }

/** What is taken for limits that are left out. `undefined` is no limit. */
export const limitDefaults: {
  readonly concurrency: number
  readonly uploadSlots: number
  readonly parentsTimeoutMs: number
  readonly pieceTimeoutMs: number
} = Object.freeze({
  concurrency: 8,
  uploadSlots: 16,
  parentsTimeoutMs: 10_000,
  pieceTimeoutMs: 60_000,
})

/** What one download wants. Every field is optional. */
export interface DownloadOptions {
  /** Part of the content in bytes; whole pieces that hold it are fetched. */
  readonly range?: { readonly start: number; readonly length: number }
  /** Digest that the whole content must have: `sha256:<hex>`, `sha512:<hex>` or `crc32:<decimal>`. Not with `range`. */
  readonly digest?: string
  /** Bytes per piece, 4 MiB to 64 MiB; a part of the task's identity. @defaultValue by the length of the content */
  readonly pieceLength?: number
  /** Keeps tasks with the same URL apart. */
  readonly tag?: string
  /** Keeps tasks with the same URL apart, and selects the scheduler's priority rules. */
  readonly application?: string
  /** Query parameters that do not name the content. @defaultValue the signature parameters of the known object stores */
  readonly filteredQueryParams?: readonly string[]
  /** Request headers for the origin. They stay in this process, and go to the seed peer through the scheduler when one is asked to fetch. */
  readonly headers?: Readonly<Record<string, string>>
  /** 0 to 6, as the scheduler understands it. @defaultValue `6` */
  readonly priority?: number
  /** Whether the origin may be used. `never` is a guarantee: neither this peer nor a seed is sent there for this download. @defaultValue `'allow'` */
  readonly backToSource?: 'allow' | 'never'
  /** Where the pieces stay. @defaultValue memory for `bytes()` and `into`, else the peer's store */
  readonly store?: 'disk' | 'memory'
  /** Memory of the caller, at least as long as the content: the pieces are read straight into it. With `range`, the range is copied into it. */
  readonly into?: Uint8Array
  /** Pieces fetched at once. @defaultValue the peer's limit */
  readonly concurrency?: number
  /** Bytes per second that this download may fetch, within what its peer may. @defaultValue no limit of its own */
  readonly downloadBytesPerSecond?: number
  /** Ends the download; everything rejects with `signal.reason`. */
  readonly signal?: AbortSignal
  /** Called when bytes have been kept, at most once for each piece. */
  readonly onProgress?: (progress: DownloadProgress) => void
}

/** How far a download is. Bytes are those of the wanted pieces. */
export interface DownloadProgress {
  /** Id of the task. */
  readonly task: string
  /** Bytes kept so far. */
  readonly bytes: number
  /** Bytes that will be kept in the end. */
  readonly bytesTotal: number
  /** Pieces kept so far. */
  readonly pieces: number
  /** Pieces that will be kept in the end. */
  readonly piecesTotal: number
  /** Bytes by origin of the piece. */
  readonly traffic: Traffic
}

/** Bytes by where they came from. */
export interface Traffic {
  /** From the origin. */
  readonly source: number
  /** From other peers. */
  readonly peers: number
  /** Kept here already. */
  readonly local: number
}

/** What a finished task is. */
export interface TaskInfo {
  /** 64 hex digits; `download({ task: id })` finds it. */
  readonly id: string
  /** What kind of task: with an origin, or in the network alone (`persistentCache`, made by `write()`). */
  readonly kind: 'standard' | 'persistent' | 'persistentCache'
  /** Bytes of the whole content. */
  readonly length: number
  /** Bytes of every piece but the last. */
  readonly pieceLength: number
  /** Pieces of the whole content. */
  readonly pieces: number
  /** Bytes by where they came from, for this download. */
  readonly traffic: Traffic
  /** Digest of the whole content, when it was checked or computed. */
  readonly digest?: string
}

/** What is written into the network: a path, a file URL, bytes, or bytes as they come. */
export type Writable = string | URL | Uint8Array | AsyncIterable<Uint8Array>

/** How content is written into the network. */
export interface WriteOptions {
  /** How long the network keeps it, 5 minutes to 7 days. @defaultValue 24 hours */
  readonly ttlMs?: number
  /** On how many hosts it is kept until then, this one included, 1 to 5; fewer when there are not so many. @defaultValue `2` */
  readonly replicas?: number
  /** Keeps tasks with the same content apart; a part of the identity. */
  readonly tag?: string
  /** Keeps tasks with the same content apart; a part of the identity. */
  readonly application?: string
  /** Bytes per piece, 4 MiB to 64 MiB; a part of the task's identity. @defaultValue by the length of the content */
  readonly pieceLength?: number
  /** Ends the write; it rejects with `signal.reason` and nothing is kept. */
  readonly signal?: AbortSignal
}

/** How a file on this disk is published. */
export interface SeedOptions {
  /**
   * The URL that others download it by. It need not answer; where it answers that there is no such content, others need `backToSource: 'never'`.
   */
  readonly url: string
  /** Keeps tasks with the same URL apart; others give the same one. */
  readonly tag?: string
  /** Keeps tasks with the same URL apart; others give the same one. */
  readonly application?: string
  /** Query parameters that do not name the content. @defaultValue the signature parameters of the known object stores */
  readonly filteredQueryParams?: readonly string[]
  /** Bytes per piece, 4 MiB to 64 MiB; a part of the task's identity. @defaultValue by the length of the file */
  readonly pieceLength?: number
  /** Ends the reading of the file; `seed()` rejects with `signal.reason`. A running publication is ended by `stop()`. */
  readonly signal?: AbortSignal
}
