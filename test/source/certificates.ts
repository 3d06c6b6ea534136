import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** PEM texts of a private authority and of what it signed. */
export interface Certificates {
  readonly ca: string
  /** For 127.0.0.1 and `origin.test`. */
  readonly server: { readonly cert: string; readonly key: string }
  /** Names another host. */
  readonly stranger: { readonly cert: string; readonly key: string }
  readonly client: { readonly cert: string; readonly key: string }
}

const run = promisify(execFile)

/** Makes an authority and certificates with the `openssl` program, valid for two days. Needs OpenSSL 1.1.1 or newer in the path. */
export async function makeCertificates(): Promise<Certificates> {
  const folder = await mkdtemp(join(tmpdir(), 'certificates-'))
  try {
    await openssl(folder, 'ca', ['-x509', '-days', '2', '-subj', '/CN=Test authority'])
    const [server, stranger, client] = await Promise.all([
      signed(folder, 'server', 'subjectAltName=IP:127.0.0.1,DNS:origin.test'),
      signed(folder, 'stranger', 'subjectAltName=DNS:elsewhere.test'),
      signed(folder, 'client', 'extendedKeyUsage=clientAuth'),
    ])
    return { ca: await readFile(join(folder, 'ca.pem'), 'utf8'), server, stranger, client }
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function signed(
  folder: string,
  name: string,
  extension: string,
): Promise<{ cert: string; key: string }> {
  const file = (suffix: string): string => join(folder, `${name}.${suffix}`)
  await openssl(folder, name, ['-subj', `/CN=${name}`])
  await writeFile(file('ext'), extension)
  await run('openssl', [
    ...['x509', '-req', '-days', '2', '-in', file('pem'), '-out', file('crt')],
    ...['-CA', join(folder, 'ca.pem'), '-CAkey', join(folder, 'ca.key'), '-extfile', file('ext')],
    ...['-set_serial', String(name.length + 1000)],
  ])
  return { cert: await readFile(file('crt'), 'utf8'), key: await readFile(file('key'), 'utf8') }
}

async function openssl(folder: string, name: string, more: readonly string[]): Promise<void> {
  await run('openssl', [
    ...['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-keyout', join(folder, `${name}.key`), '-out', join(folder, `${name}.pem`), ...more],
  ])
}
