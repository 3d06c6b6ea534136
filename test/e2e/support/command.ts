import type {
  DownloadOptions,
  PeerOptions,
  SeedOptions,
  TaskInfo,
  WriteOptions,
} from '../../../src/index.ts'

/** The part of download options that can travel between processes. */
export type PlainDownloadOptions = Omit<DownloadOptions, 'into' | 'onProgress' | 'signal'>

/** What a test tells a peer in another process, with what it answers. */
export interface Commands {
  start: {
    readonly ask: { readonly options: PeerOptions }
    readonly answer: {
      readonly address: string
      readonly hostId: string
      readonly schedulerAddress: string
    }
  }
  /** Downloads and hashes what came. Without a path: into memory. */
  download: {
    readonly ask: {
      readonly target: string | { readonly task: string }
      readonly path?: string
      readonly options: PlainDownloadOptions
    }
    readonly answer: Downloaded
  }
  /** Downloads into the peer's store only. */
  keep: {
    readonly ask: {
      readonly target: string | { readonly task: string }
      readonly options: PlainDownloadOptions
    }
    readonly answer: TaskInfo
  }
  write: {
    readonly ask: { readonly path: string; readonly options: WriteOptions }
    readonly answer: TaskInfo
  }
  seed: {
    readonly ask: { readonly path: string; readonly options: SeedOptions }
    readonly answer: TaskInfo
  }
  explain: { readonly ask: object; readonly answer: Record<string, unknown> }
  /** Peak of the resident memory of the process until now. Linux only. */
  memory: { readonly ask: object; readonly answer: { readonly peakBytes: number } }
  /** Closes the peer; fails when something of it is left open. The process has to exit by itself afterwards. */
  close: { readonly ask: object; readonly answer: object }
}

/** What was downloaded. */
export interface Downloaded {
  readonly info: TaskInfo
  /** Of the output, in hexadecimal. */
  readonly sha256: string
  /** Of the output. */
  readonly length: number
}

/** Name of a command. */
export type CommandName = keyof Commands

/** A command on its way. */
export interface Asked {
  readonly number: number
  readonly name: CommandName
  readonly ask: Commands[CommandName]['ask']
}

/** A message of a peer process. */
export type Told =
  /** Bytes that a download kept so far. */
  | { readonly is: 'progress'; readonly number: number; readonly bytes: number }
  | { readonly is: 'answer'; readonly number: number; readonly answer: unknown }
  | {
      readonly is: 'error'
      readonly number: number
      readonly code: string
      readonly message: string
    }
