import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { inspect } from 'node:util'
import { startPeer } from '../peer/start-peer.ts'
import { Content } from '../support/content.ts'
import { projectRoot } from '../support/project-root.ts'
import { verifyBytes } from '../support/verify.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { site, wantedOf } from './site.ts'
import { hasty, limit, mib } from './swarm.ts'

/** Not a part of any other word here. */
const secret = 'hunter2xyzzy'
const encoded = Buffer.from(`user:${secret}`).toString('base64')

/** Everything that can be seen of a peer from outside. */
function watched(t: TestContext): unknown[] {
  const seen: unknown[] = []
  const page = readFileSync(join(projectRoot(), 'docs/hooks.md'), 'utf8')
  const names = [...new Set(page.match(/dragonfly-peer:[a-z]+:[a-z]+/g))]
  assert.ok(names.length > 10)
  const note = (message: unknown): number => seen.push(message)
  for (const name of names) subscribe(name, note)
  t.after(() => {
    for (const name of names) unsubscribe(name, note)
  })
  return seen
}

test('Scar: credentials are in no error, no event and no explain()', limit, async (t) => {
  const content = new Content(5 * mib)
  const from = await site(t, (request, response) => {
    const path = request.url ?? ''
    if (path.startsWith('/reset')) return void response.socket?.resetAndDestroy()
    if (path.startsWith('/loop')) return void response.writeHead(302, { location: path }).end()
    if (path.startsWith('/odd')) {
      return void response.writeHead(302, { location: `gopher://u:${secret}@x/?k=${secret}` }).end()
    }
    const status = Number(/^\/(\d{3})/.exec(path)?.[1] ?? 206)
    const { start, end } = wantedOf(request, content.length)
    response.writeHead(status, {
      etag: `"${secret}"`,
      'content-range': `bytes ${start}-${end - 1}/${content.length}`,
    })
    response.end(status === 206 ? content.bytes(start, end - start) : `no, ${secret}`)
  })
  const seen = watched(t)
  const dir = tempFolder(t)
  const peer = await startPeer(t, { store: { dir }, sources: hasty() })
  const child = await startPeer(t, { scheduler: peer.schedulerAddress, sources: hasty() })
  const { host } = new URL(from.origin)
  const urlOf = (path: string): string =>
    `http://user:${secret}@${host}/${path}?X-Amz-Signature=${secret}&token=${secret}#${secret}`
  const headers = { authorization: `Bearer ${secret}`, cookie: `a=${secret}` }
  for (const path of ['404', '403', '503', '400', 'reset', 'loop', 'odd']) {
    await peer
      .download(urlOf(path), { headers })
      .bytes()
      .then(
        () => assert.fail(`${path} was downloaded`),
        (error: unknown) => seen.push(error),
      )
  }
  for (const wrong of [`http://user:${secret}@[/`, `nope://user:${secret}@host/?a=${secret}`]) {
    await Promise.resolve()
      .then(() => peer.download(wrong, { headers }).bytes())
      .catch((error: unknown) => seen.push(error))
  }
  const running = peer.download(urlOf('whole'), {
    headers,
    onProgress: () => seen.push(peer.explain(), child.explain()),
  })
  verifyBytes(await running.bytes(), content)
  verifyBytes(await child.download(urlOf('whole'), { headers }).bytes(), content)
  seen.push(peer.explain(), child.explain())
  for (const one of seen) {
    const text = inspect(one, { depth: 20, showHidden: true }) + JSON.stringify(one)
    assert.ok(!text.includes(secret) && !text.includes(encoded), text)
  }
  // What is kept for later is no place for them either.
  assert.ok(!readFileSync(join(dir, 'journal'), 'latin1').includes(`Bearer ${secret}`))
})

test(
  'Scar: credentials follow a relative redirect and never one to another origin',
  limit,
  async (t) => {
    const content = new Content(5 * mib)
    const serve = (request: Parameters<typeof wantedOf>[0]): [number, number] => {
      const { start, end } = wantedOf(request, content.length)
      return [start, end]
    }
    const there = await site(t, (request, response) => {
      const [start, end] = serve(request)
      response.writeHead(206, {
        'content-range': `bytes ${start}-${end - 1}/${content.length}`,
        etag: '"a"',
      })
      response.end(content.bytes(start, end - start))
    })
    const here = await site(t, (request, response) => {
      const location = request.url === '/a/start' ? '../b/next' : `${there.origin}/end`
      response.writeHead(302, { location }).end()
    })
    const { host } = new URL(here.origin)
    const headers = { authorization: `Bearer ${secret}`, cookie: secret, 'x-token': secret }
    const peer = await startPeer(t)
    verifyBytes(await peer.download(`http://${host}/a/start`, { headers }).bytes(), content)
    const inUrl = `http://user:${secret}@${host}/a/start?other`.replace('start?other', 'start')
    verifyBytes(await peer.download(inUrl, { tag: 'userinfo' }).bytes(), content)
    const next = here.requests.filter(({ url }) => url === '/b/next')
    assert.ok(next.length > 0 && there.requests.length > 0)
    for (const { headers: sent } of next) {
      assert.ok([`Bearer ${secret}`, `Basic ${encoded}`].includes(sent.authorization ?? ''))
    }
    for (const { rawHeaders, url } of there.requests) {
      assert.ok(!JSON.stringify([rawHeaders, url]).includes(secret))
      assert.ok(!JSON.stringify([rawHeaders, url]).includes(encoded))
    }
  },
)
