import { kindOfRequestTag, kinds, type TaskKind } from '../task/kind.ts'
import type { Piece } from '../task/piece.ts'

/**
 * Vortex, the piece protocol of Dragonfly (vortex-protocol 0.1.5): frames to bytes and back, without I/O. All integers are big endian.
 *
 *     frame     packet id (1, random, unused) · tag (1) · value length (4) · value
 *     request   task id (64 ASCII bytes) · piece number (4)
 *     content   metadata length (4) · number (4) · offset (8) · length (8) · digest (4 + d) · parent id (4 + p) · traffic (1) · cost s (8) · created s (8),
 *               and then, outside of the frame, the `length` bytes of the piece
 *     error     code (1) · message (to the end)
 *
 * Decoders are fed what comes from the network and answer with data; they never throw for it, and never hold more than the bounds below.
 */

/** Bytes of a frame before its value. */
export const frameBytes = 6
/** Bytes of a whole request. */
export const requestBytes = 74
/** Most bytes of metadata in an answer. A real one has 45, a digest of 16 and a parent id of about 80. */
export const metadataBytesMax = 4096
/** Most bytes of an error message in an answer. */
export const errorBytesMax = 4096
/** Most bytes of a digest in an answer; `sha512:` with 128 digits has 135. */
export const digestBytesMax = 256
/** Most bytes of a parent id that are sent. */
export const parentIdBytesMax = 1024

const errorTag = 255
const metadataLengthBytes = 4
const metadataBytesMin = 45
/** Traffic type of every answer; the Rust client sends no other. */
const trafficRemotePeer = 1
const taskIdPattern = /^[0-9a-f]{64}$/
/** Most characters of a foreign error text that are shown. */
const errorTextLengthMax = 256

/** Error codes of the protocol. */
export const vortexErrors: Readonly<
  Record<'unknown' | 'invalidArgument' | 'notFound' | 'internal', number>
> = Object.freeze({ unknown: 0, invalidArgument: 1, notFound: 2, internal: 3 })

/** A request on the wire. */
export interface VortexRequest {
  readonly kind: TaskKind
  readonly taskId: string
  readonly number: number
}

/** What stands before the bytes of a piece. */
export interface ContentHead {
  readonly kind: TaskKind
  readonly number: number
  /** Bytes. */
  readonly offset: number
  /** Bytes that follow the head. */
  readonly length: number
  /** String form; empty when the sender has none. */
  readonly digest: string
  /** From whom the sender once got the piece; empty for the origin. */
  readonly parentId: string
  /** What getting it took the sender. */
  readonly costSeconds: number
  /** Since 1970. */
  readonly createdAtSeconds: number
}

/** Bytes that the protocol forbids, or an answer to another question: what was wrong, what was expected, what came. */
export interface Wrong {
  readonly is: 'wrong'
  readonly what: string
  readonly expected: string
  readonly actual: string
}

/** What an answer begins with. */
export type AnswerHead =
  | { readonly is: 'content'; readonly head: ContentHead }
  | { readonly is: 'refused'; readonly code: number; readonly reason: string }
  | Wrong

/** What a child asked. */
export type AskedFor = { readonly is: 'request'; readonly request: VortexRequest } | Wrong

/** Whether Vortex can carry this task id: 64 lower-case hex digits. */
export function isVortexTaskId(taskId: string): boolean {
  return taskIdPattern.test(taskId)
}

/** The 74 bytes of a request. @throws RangeError for a task id or number that the protocol cannot carry */
export function encodeRequest(request: VortexRequest, packetId: number = anyPacketId()): Buffer {
  if (!isVortexTaskId(request.taskId)) {
    throw new RangeError('A task id on the wire has 64 lower-case hex digits')
  }
  const bytes = frame(packetId, kinds[request.kind].requestTag, requestBytes - frameBytes)
  bytes.write(request.taskId, frameBytes, 'latin1')
  bytes.writeUInt32BE(request.number, requestBytes - 4)
  return bytes
}

/** Frame and metadata of an answer; the bytes of the piece follow. @throws RangeError when a text is longer than its bound or a figure has no place */
export function encodeContentHead(head: ContentHead, packetId: number = anyPacketId()): Buffer {
  const digest = bounded('digest', head.digest, digestBytesMax)
  const parentId = bounded('parentId', head.parentId, parentIdBytesMax)
  const metadataBytes = metadataBytesMin + digest.length + parentId.length
  const bytes = frame(packetId, kinds[head.kind].contentTag, metadataLengthBytes + metadataBytes)
  let at = bytes.writeUInt32BE(metadataBytes, frameBytes)
  at = bytes.writeUInt32BE(head.number, at)
  at = bytes.writeBigUInt64BE(BigInt(head.offset), at)
  at = bytes.writeBigUInt64BE(BigInt(head.length), at)
  at = bytes.writeUInt32BE(digest.length, at)
  at += digest.copy(bytes, at)
  at = bytes.writeUInt32BE(parentId.length, at)
  at += parentId.copy(bytes, at)
  at = bytes.writeUInt8(trafficRemotePeer, at)
  at = bytes.writeBigUInt64BE(BigInt(head.costSeconds), at)
  bytes.writeBigInt64BE(BigInt(head.createdAtSeconds), at)
  return bytes
}

/** An error answer. @throws RangeError when the message is longer than its bound */
export function encodeError(
  code: number,
  message: string,
  packetId: number = anyPacketId(),
): Buffer {
  const text = bounded('message', message, errorBytesMax)
  const bytes = frame(packetId, errorTag, 1 + text.length)
  bytes.writeUInt8(code, frameBytes)
  text.copy(bytes, frameBytes + 1)
  return bytes
}

/** Where the answer differs from the question; undefined when it is the right one. A parent is never believed about place and length. */
export function difference(
  head: Pick<ContentHead, 'number' | 'offset' | 'length'> & { readonly kind?: TaskKind },
  asked: { readonly kind: TaskKind; readonly piece: Piece },
): Wrong | undefined {
  if (head.kind !== undefined && head.kind !== asked.kind) {
    return wrong('task kind', asked.kind, head.kind)
  }
  for (const what of ['number', 'offset', 'length'] as const) {
    if (head[what] !== asked.piece[what]) {
      return wrong(`piece ${what}`, String(asked.piece[what]), String(head[what]))
    }
  }
  return undefined
}

/** Takes requests out of a stream of bytes, one after another. Holds one request at most. */
export class RequestDecoder {
  readonly #bytes = Buffer.alloc(requestBytes)
  #filled = 0

  /** Takes bytes up to the end of the request. `taken` says how many; `asked` is there when it is complete or cannot become one. */
  push(bytes: Uint8Array): { readonly taken: number; readonly asked: AskedFor | undefined } {
    const taken = Math.min(bytes.length, requestBytes - this.#filled)
    this.#bytes.set(bytes.subarray(0, taken), this.#filled)
    this.#filled += taken
    return { taken, asked: this.#decode() }
  }

  #decode(): AskedFor | undefined {
    if (this.#filled < frameBytes) return undefined
    const tag = this.#bytes.readUInt8(1)
    const kind = kindOfRequestTag(tag)
    if (kind === undefined) return wrong('tag', 'a piece request', String(tag))
    const valueBytes = this.#bytes.readUInt32BE(2)
    if (valueBytes !== requestBytes - frameBytes) {
      return wrong('request length', String(requestBytes - frameBytes), String(valueBytes))
    }
    if (this.#filled < requestBytes) return undefined
    this.#filled = 0
    const taskId = this.#bytes.toString('latin1', frameBytes, requestBytes - 4)
    if (!isVortexTaskId(taskId)) return wrong('task id', '64 lower-case hex digits', 'other bytes')
    const number = this.#bytes.readUInt32BE(requestBytes - 4)
    return { is: 'request', request: { kind, taskId, number } }
  }
}

/**
 * Takes the head of an answer out of the network: read into `space()`, say with `fill()` how much came. It asks for exactly the bytes that are missing, so
 * the bytes of the piece are never among them. After an answer `reset()` makes it ready for the next one.
 */
export class AnswerDecoder {
  readonly #bytes = Buffer.alloc(
    frameBytes + Math.max(metadataLengthBytes + metadataBytesMax, 1 + errorBytesMax),
  )
  #filled = 0
  #wanted = frameBytes

  /** Memory for the bytes that are missing next; empty when the head is complete. */
  space(): Uint8Array {
    return this.#bytes.subarray(this.#filled, this.#wanted)
  }

  /** `count` bytes of the space have come. Answers when the head is complete or cannot become one. @throws RangeError when that is more than the space */
  fill(count: number): AnswerHead | undefined {
    if (!(count >= 0 && count <= this.#wanted - this.#filled)) {
      throw new RangeError(`The space has ${this.#wanted - this.#filled} bytes, not ${count}`)
    }
    this.#filled += count
    if (this.#filled < this.#wanted) return undefined
    return this.#wanted === frameBytes ? this.#frame() : this.#value()
  }

  /** Forgets everything. */
  reset(): void {
    this.#filled = 0
    this.#wanted = frameBytes
  }

  #frame(): AnswerHead | undefined {
    const tag = this.#bytes.readUInt8(1)
    const [min, max] =
      tag === errorTag
        ? [1, 1 + errorBytesMax]
        : [metadataLengthBytes + metadataBytesMin, metadataLengthBytes + metadataBytesMax]
    if (tag !== errorTag && kindOfContentTag(tag) === undefined) {
      return wrong('tag', 'a piece or an error', String(tag))
    }
    const valueBytes = this.#bytes.readUInt32BE(2)
    if (valueBytes < min || valueBytes > max) {
      return wrong('answer length', `${min} to ${max}`, String(valueBytes))
    }
    this.#wanted = frameBytes + valueBytes
    return undefined
  }

  #value(): AnswerHead {
    const tag = this.#bytes.readUInt8(1)
    const value = this.#bytes.subarray(frameBytes, this.#wanted)
    const kind = kindOfContentTag(tag)
    return kind === undefined ? decodeError(value) : decodeContent(kind, value)
  }
}

function decodeError(value: Buffer): AnswerHead {
  const code = value.readUInt8(0)
  return { is: 'refused', code, reason: `${errorName(code)}: ${plain(value.toString('utf8', 1))}` }
}

function decodeContent(kind: TaskKind, value: Buffer): AnswerHead {
  const metadataBytes = value.length - metadataLengthBytes
  const claimed = value.readUInt32BE(0)
  if (claimed !== metadataBytes) {
    return wrong('metadata length', String(metadataBytes), String(claimed))
  }
  const textBytes = metadataBytes - metadataBytesMin
  const digestBytes = value.readUInt32BE(24)
  if (digestBytes > Math.min(textBytes, digestBytesMax)) {
    return wrong('digest length', `up to ${Math.min(textBytes, digestBytesMax)}`, `${digestBytes}`)
  }
  const parentIdBytes = value.readUInt32BE(28 + digestBytes)
  if (parentIdBytes !== textBytes - digestBytes) {
    return wrong('parent id length', String(textBytes - digestBytes), String(parentIdBytes))
  }
  const digest = value.toString('latin1', 28, 28 + digestBytes)
  if (!/^[\x21-\x7e]*$/.test(digest)) return wrong('digest', 'printable characters', 'other bytes')
  const parentId = value.toString('utf8', 32 + digestBytes, 32 + digestBytes + parentIdBytes)
  const figures = {
    offset: value.readBigUInt64BE(8),
    length: value.readBigUInt64BE(16),
    costSeconds: value.readBigUInt64BE(value.length - 16),
    createdAtSeconds: value.readBigInt64BE(value.length - 8),
  }
  for (const [what, figure] of Object.entries(figures)) {
    if (!Number.isSafeInteger(Number(figure))) return wrong(what, 'at most 53 bits', `${figure}`)
  }
  const head: ContentHead = {
    kind,
    number: value.readUInt32BE(4),
    offset: Number(figures.offset),
    length: Number(figures.length),
    digest,
    parentId,
    costSeconds: Number(figures.costSeconds),
    createdAtSeconds: Number(figures.createdAtSeconds),
  }
  return { is: 'content', head }
}

function kindOfContentTag(tag: number): TaskKind | undefined {
  for (const [kind, rules] of Object.entries(kinds)) {
    if (rules.contentTag === tag) return kind as TaskKind
  }
  return undefined
}

function errorName(code: number): string {
  if (code === vortexErrors.unknown) return 'unknown'
  if (code === vortexErrors.invalidArgument) return 'invalid argument'
  if (code === vortexErrors.notFound) return 'not found'
  if (code === vortexErrors.internal) return 'internal'
  return `reserved code ${code}`
}

/** Foreign text goes into errors, and from there into logs: one short line, without control characters. */
function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ').slice(0, errorTextLengthMax)
}

function bounded(name: string, text: string, bytesMax: number): Buffer {
  const bytes = Buffer.from(text, 'utf8')
  if (bytes.length > bytesMax) {
    throw new RangeError(`${name} has at most ${bytesMax} bytes on the wire, got ${bytes.length}`)
  }
  return bytes
}

function frame(packetId: number, tag: number, valueBytes: number): Buffer {
  const bytes = Buffer.alloc(frameBytes + valueBytes)
  bytes.writeUInt8(packetId, 0)
  bytes.writeUInt8(tag, 1)
  bytes.writeUInt32BE(valueBytes, 2)
  return bytes
}

function anyPacketId(): number {
  return Math.floor(Math.random() * 256)
}

function wrong(what: string, expected: string, actual: string): Wrong {
  return { is: 'wrong', what, expected, actual }
}
