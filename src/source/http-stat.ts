import type { OriginStat } from '../task/ports.ts'
import { type Exchanger, exchange } from './http-exchange.ts'
import { protocolError } from './http-failure.ts'
import {
  type ResponseHeaders,
  answerVersion,
  contentLengthOf,
  contentRangeOf,
  fieldOf,
  keptHeaders,
} from './http-headers.ts'
import { redactUrl } from './redact.ts'
import type { Retries } from './retries.ts'
import type { SourceRequest } from './source.ts'
import { validatorOf } from './version.ts'

/**
 * Asks for the first byte: the answer tells the length, the version, and whether parts can be had. Signed URLs are signed for GET, so there is no HEAD.
 * An object without bytes has no first one (416); then everything is asked for, which is nothing, because the fields of a 416 are those of an error page.
 */
export async function httpStat(
  by: Exchanger,
  retries: Retries,
  request: SourceRequest,
): Promise<OriginStat> {
  const url = redactUrl(request.url)
  let range: string | undefined = 'bytes=0-0'
  for (;;) {
    retries.begin()
    const ask = { request, range, match: undefined, offset: 0, length: 1 }
    const outcome = await exchange(by, ask, { url, attempts: retries.attempts })
    if (outcome.is === 'failed') {
      await retries.again(outcome.failure)
      continue
    }
    const { statusCode, headers } = outcome.response
    outcome.response.body.drop()
    if (statusCode === 206 && range !== undefined) return statOfPart(url, headers)
    if (statusCode === 200) return statOf(headers, contentLengthOf(headers), false)
    if (statusCode !== 416 || range === undefined) {
      throw protocolError(url, 'status 200 or 206', `status ${statusCode}`)
    }
    range = undefined
  }
}

function statOfPart(url: string, headers: ResponseHeaders): OriginStat {
  const part = contentRangeOf(headers)
  if (part === undefined || part.first !== 0 || part.last !== 0) {
    throw protocolError(url, 'content-range bytes 0-0', rangeText(headers))
  }
  return statOf(headers, part.total, true)
}

function statOf(headers: ResponseHeaders, length: number | undefined, ranges: boolean): OriginStat {
  const validator = validatorOf(answerVersion(headers, length))
  return {
    ranges,
    headers: keptHeaders(headers, length),
    ...(length === undefined ? {} : { length }),
    ...(validator === undefined ? {} : { validator }),
  }
}

/** What an answer says about its range, for an error. */
export function rangeText(headers: ResponseHeaders): string {
  const field = fieldOf(headers, 'content-range')
  return field === undefined ? 'no single content-range' : `content-range ${field.slice(0, 100)}`
}
