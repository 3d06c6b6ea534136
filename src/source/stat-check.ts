import type { OriginStat } from '../task/ports.ts'
import { describe } from '../util/settings.ts'
import { validatorLengthMax } from './version.ts'

/** Most response headers that a source may hand over. */
export const originHeadersMax = 64
/** Longest value of one of them. */
export const originHeaderLengthMax = 8192
/** What a validator has besides the field that it was made from. */
const validatorFormLengthMax = 64

/** What a source's `stat` returned, copied, when it is what the contract says. @throws TypeError that names the key */
export function checkedStat(answer: unknown): OriginStat {
  if (typeof answer !== 'object' || answer === null) {
    throw new TypeError(`stat() must return an object, got ${describe(answer)}`)
  }
  const { length, ranges, validator, headers } = answer as Record<keyof OriginStat, unknown>
  if (typeof ranges !== 'boolean') throw wrong('ranges', 'a boolean', ranges)
  return {
    ranges,
    headers: checkedHeaders(headers),
    ...(length === undefined ? {} : { length: checkedLength(length) }),
    ...(validator === undefined ? {} : { validator: checkedValidator(validator) }),
  }
}

function checkedLength(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw wrong('length', 'a whole number of bytes', value)
}

function checkedValidator(value: unknown): string {
  const lengthMax = validatorLengthMax + validatorFormLengthMax
  if (typeof value === 'string' && value.length > 0 && value.length <= lengthMax) return value
  throw wrong('validator', `a text of 1 to ${lengthMax} characters`, value)
}

function checkedHeaders(value: unknown): Readonly<Record<string, string>> {
  if (typeof value !== 'object' || value === null) throw wrong('headers', 'an object', value)
  const entries = Object.entries(value)
  if (entries.length > originHeadersMax) {
    throw wrong('headers', `at most ${originHeadersMax} fields`, entries.length)
  }
  const checked: Record<string, string> = {}
  for (const [name, text] of entries) {
    if (typeof text !== 'string' || text.length > originHeaderLengthMax) {
      throw wrong('headers', `texts of at most ${originHeaderLengthMax} characters`, text)
    }
    checked[name] = text
  }
  return Object.freeze(checked)
}

function wrong(key: string, expected: string, value: unknown): TypeError {
  return new TypeError(`stat() must return ${key} that is ${expected}, got ${describe(value)}`)
}
