import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { isAbsolute, resolve } from 'node:path'
import { createSecureContext } from 'node:tls'
import type { ChannelTls } from '../rpc/channel.ts'
import type { RpcServerTls } from '../rpc/server-options.ts'
import { describe, flag, refuseUnknown, text } from '../util/settings.ts'
import type { TlsOptions } from './options.ts'

/** Most bytes of one PEM text: a bundle of all public authorities has a fifth of it. */
export const pemBytesMax: number = 1024 * 1024
/** Most folders that can be named in `tls.outputDirs`. */
export const outputDirsMax: number = 64

/** `TlsOptions`, complete and checked. */
export interface TlsSetting {
  readonly credentials: Credentials
  readonly deletes: boolean
  readonly outputDirs: readonly string[]
}

interface Secrets extends RpcServerTls {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

/** The certificates of a peer. What prints, spreads or serialises this object sees no key. */
export class Credentials {
  readonly #secrets: Secrets
  readonly #serverName: string | undefined

  constructor(secrets: Secrets, serverName: string | undefined) {
    this.#secrets = Object.freeze({ ...secrets })
    this.#serverName = serverName
  }

  /** For a server that asks its callers for a certificate. */
  get server(): RpcServerTls {
    return this.#secrets
  }

  /** For calls to others. */
  get channel(): ChannelTls {
    const serverName = this.#serverName
    return { ...this.#secrets, ...(serverName === undefined ? {} : { serverName }) }
  }
}

/** Checks the option `tls`, certificates included. @throws TypeError, RangeError that name the option and never hold its content; no I/O has happened then */
export function tlsSetting(value: TlsOptions): TlsSetting {
  refuseUnknown('options.tls', value, ['ca', 'cert', 'key', 'serverName', 'deletes', 'outputDirs'])
  const ca = pem('options.tls.ca', value.ca)
  const cert = pem('options.tls.cert', value.cert)
  const key = pem('options.tls.key', value.key)
  certificates('options.tls.ca', ca)
  const [own] = certificates('options.tls.cert', cert)
  if (own?.checkPrivateKey(privateKey(key)) !== true) {
    throw new RangeError('options.tls.key is not the key of options.tls.cert')
  }
  usable({ ca, cert, key })
  const serverName =
    value.serverName === undefined
      ? undefined
      : text('options.tls.serverName', value.serverName, 253)
  return Object.freeze({
    credentials: new Credentials({ ca, cert, key }, serverName),
    deletes: flag('options.tls.deletes', value.deletes ?? true),
    outputDirs: folders(value.outputDirs ?? []),
  })
}

/** A copy as text: nobody can change it later. */
function pem(name: string, value: unknown): string {
  if (typeof value !== 'string' && !(value instanceof Uint8Array)) {
    throw new TypeError(`${name} must be PEM as a string or Uint8Array, got ${describe(value)}`)
  }
  if (value.length === 0 || value.length > pemBytesMax) {
    throw new RangeError(`${name} must have 1 to ${pemBytesMax} bytes, got ${value.length}`)
  }
  return typeof value === 'string' ? value : Buffer.from(value).toString('latin1')
}

/** All certificates of a text, the first one first. */
function certificates(name: string, given: string): X509Certificate[] {
  const blocks = given.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []
  if (blocks.length === 0) throw new RangeError(`${name} holds no certificate in PEM`)
  return blocks.map((block, at) => {
    try {
      return new X509Certificate(block)
    } catch {
      // What OpenSSL says names a routine of its own and helps nobody.
      throw new RangeError(`${name} holds a certificate that cannot be read, number ${at + 1}`)
    }
  })
}

function privateKey(given: string): KeyObject {
  try {
    return createPrivateKey(given)
  } catch {
    // Without the cause: nothing that has seen the key goes into an error.
    throw new RangeError('options.tls.key is no private key in PEM that is not encrypted')
  }
}

/** What OpenSSL would refuse at the first connection, such as a key that is too short. */
function usable(secrets: Secrets): void {
  try {
    createSecureContext({ ...secrets, minVersion: 'TLSv1.2' })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new RangeError(`options.tls cannot be used: ${code ?? 'OpenSSL refuses it'}`)
  }
}

function folders(value: unknown): readonly string[] {
  if (!Array.isArray(value)) {
    throw new TypeError(`options.tls.outputDirs must be an array, got ${describe(value)}`)
  }
  if (value.length > outputDirsMax) {
    throw new RangeError(`options.tls.outputDirs must have at most ${outputDirsMax} folders`)
  }
  const list = value.map((item, at) => {
    const name = `options.tls.outputDirs[${at}]`
    const dir = text(name, item)
    if (!isAbsolute(dir)) throw new RangeError(`${name} must be an absolute path`)
    return resolve(dir)
  })
  return Object.freeze(list)
}
