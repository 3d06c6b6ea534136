import type { IncomingHttpHeaders } from 'node:http2'

import { Code, ConnectError } from '@connectrpc/connect'

/** What an origin answered, as daemons pass it on. */
export interface BackendDetail {
  readonly message: string
  readonly header: Readonly<Record<string, string>>
  /** HTTP status, when there was an answer at all. */
  readonly statusCode?: number
}

const detailsHeader = 'grpc-status-details-bin'
const jsonHeader = 'dragonfly-status-json-bin'
/** Longest text that is looked at, in base64 characters: headers are bounded to 64 KiB anyway. */
const detailCharactersMax = 64 * 1024

/**
 * Renames a `grpc-status-details-bin` that holds JSON.
 *
 * gRPC wants a protobuf message there, daemons put the JSON of an origin's answer (controlplane 6.6). Connect prefers this field to
 * `grpc-status`, so it would report a decoding failure, or no failure at all, in place of what happened.
 */
export function keepJsonDetails(headers: IncomingHttpHeaders): void {
  const value = headers[detailsHeader]
  if (typeof value !== 'string' || value.length > detailCharactersMax) return
  if (!Buffer.from(value.slice(0, 4), 'base64').toString('latin1').startsWith('{')) return
  delete headers[detailsHeader]
  headers[jsonHeader] = value
}

/** The origin's answer in an error of a daemon's call, if it carries one. */
export function backendDetail(error: ConnectError): BackendDetail | undefined {
  const value = error.metadata.get(jsonHeader)
  if (value === null) return undefined
  try {
    return checked(JSON.parse(Buffer.from(value, 'base64').toString('utf8')))
  } catch (cause) {
    // Not JSON after all. The error says enough without it.
    if (cause instanceof SyntaxError) return undefined
    throw cause
  }
}

/** An error for a handler to throw: code `Internal`, with the origin's answer where and how the upstream tools look for it. */
export function backendError(detail: BackendDetail): ConnectError {
  const { message, header, statusCode } = detail
  const json = JSON.stringify({ message, header, status_code: statusCode ?? null })
  const error = new ConnectError(message, Code.Internal)
  error.metadata.set(detailsHeader, Buffer.from(json).toString('base64'))
  return error
}

function checked(value: unknown): BackendDetail | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { message, header, status_code: statusCode } = value as Record<string, unknown>
  const entries = typeof header === 'object' && header !== null ? Object.entries(header) : []
  const texts = entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  return {
    message: typeof message === 'string' ? message : '',
    header: Object.fromEntries(texts),
    ...(typeof statusCode === 'number' ? { statusCode } : {}),
  }
}
