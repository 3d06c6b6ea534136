import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { http, httpDefaults } from '../../src/source/http.ts'
import { userAgent } from '../../src/source/user-agent.ts'
import { projectRoot } from '../support/project-root.ts'

const wrong: [options: object, error: string, message: RegExp][] = [
  [{ retries: 4 }, 'TypeError', /http\.retries/],
  [{ connectTimeoutMs: '5' }, 'TypeError', /http\.connectTimeoutMs/],
  [{ headersTimeoutMs: 0 }, 'RangeError', /http\.headersTimeoutMs/],
  [{ idleTimeoutMs: 1.5 }, 'RangeError', /http\.idleTimeoutMs/],
  [{ keepAliveMs: -1 }, 'RangeError', /http\.keepAliveMs/],
  [{ connectionsPerOrigin: 0 }, 'RangeError', /http\.connectionsPerOrigin/],
  [{ retriesMax: 101 }, 'RangeError', /http\.retriesMax/],
  [{ allowDowngrade: 'yes' }, 'TypeError', /http\.allowDowngrade/],
  [{ userAgent: '' }, 'RangeError', /http\.userAgent/],
]
for (const [options, name, message] of wrong) {
  test(`http() refuses ${JSON.stringify(options)}`, () => {
    assert.throws(() => http(options), { name, message })
  })
}

test('http() takes undefined for the default, and its defaults', async () => {
  const options = Object.fromEntries(Object.keys(httpDefaults).map((name) => [name, undefined]))
  await http(options).close?.()
  await http(httpDefaults).close?.()
})

test('userAgent carries the version of the package', async () => {
  const text = await readFile(join(projectRoot(), 'package.json'), 'utf8')
  const { version }: { version: string } = JSON.parse(text)
  assert.equal(userAgent, `dragonfly-peer/${version}`)
})
