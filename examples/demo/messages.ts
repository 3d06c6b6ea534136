/** What the main process tells a child. Each order but `close` is answered by the report of the same row. */
export type Order =
  | { readonly is: 'serve'; readonly inputs: readonly string[]; readonly folder: string }
  | { readonly is: 'count' }
  | {
      readonly is: 'join'
      /** The seed gets none: it runs the scheduler that the others join. */
      readonly scheduler: string | undefined
      readonly folder: string
    }
  | { readonly is: 'download'; readonly urls: readonly string[] }
  | { readonly is: 'close' }

/** What a child answers. */
export type Report =
  | {
      readonly is: 'serving'
      readonly urls: readonly string[]
      /** Bytes of all inputs; undefined when one of them does not tell. */
      readonly bytesTotal: number | undefined
    }
  | { readonly is: 'counted'; readonly bytes: number; readonly files: readonly FileFacts[] }
  | { readonly is: 'joined'; readonly scheduler: string }
  | { readonly is: 'progress'; readonly bytes: number }
  | {
      readonly is: 'downloaded'
      readonly seconds: number
      readonly sourceBytes: number
      readonly peerBytes: number
      readonly files: readonly FileFacts[]
    }
  | { readonly is: 'failed'; readonly reason: string }

/** What makes two files the same. */
export interface FileFacts {
  readonly length: number
  readonly sha256: string
}
