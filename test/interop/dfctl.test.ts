import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { contentBytes } from '../e2e/support/swarm.ts'
import { origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyFile } from '../support/verify.ts'
import { taskIdOf } from './support/fetch.ts'
import { matrixTest } from './support/matrix.ts'
import { sharedSite } from './support/site.ts'
import { dfctl, dfget, type ToolResult } from './support/tool.ts'

/** Nine pieces of 4 MiB and a short one. */
const length = 9 * (4 << 20) + 123_457

const site = sharedSite({ daemons: 1 })

function call(t: TestContext, socketPath: string, ...args: string[]): Promise<ToolResult> {
  return dfctl(t, [...args, '-e', socketPath], tempFolder(t)).result()
}

matrixTest(8, 'dfctl task ls and rm on our socket', async (t, facts) => {
  const served = await origin(t, { length, seed: 801 })
  const socketPath = join(tempFolder(t), 'p.sock')
  await site().peer(t, { socketPath })
  const before = await call(t, socketPath, 'task', 'ls')
  assert.equal(before.code, 0)
  await dfget(t, socketPath, served.url, { output: site().path('out') }).done()
  const id = taskIdOf(served.url)
  const listed = await call(t, socketPath, 'task', 'ls')
  facts.took(listed.tookMs)
  const line = listed.output.split('\n').find((each) => each.includes(id)) ?? ''
  // Created, finished and updated are there, failed is not.
  assert.match(line, /4\.0 MiB +36\.1 MiB +20\S+ \S+ +20\S+ \S+ +- +20/)
  const removed = await call(t, socketPath, 'task', 'rm', id)
  assert.equal(removed.code, 0)
  assert.match(removed.output, /Task Removed/)
  assert.doesNotMatch((await call(t, socketPath, 'task', 'ls')).output, new RegExp(id))
  const twice = await call(t, socketPath, 'task', 'rm', id)
  assert.equal(twice.code, 1)
  assert.match(twice.output, /task not found/)
  // The scheduler sends nobody here any more: a real daemon has to go to the origin.
  const output = site().path('real')
  await dfget(t, site().daemon(0).socketPath, served.url, { output }).done()
  await verifyFile(output, served.content)
  assert.equal(contentBytes(served), 2 * length)
  facts.origin(served)
})

matrixTest(8, 'dfctl persistent-cache-task ls and persistent-task ls on our socket', async (t) => {
  const folder = tempFolder(t)
  const socketPath = join(folder, 'p.sock')
  // Its own scheduler: the real one keeps written files only with a Redis.
  const peer = await site().peer(t, { socketPath, scheduler: 'embedded' })
  await writeFile(join(folder, 'in'), 'content')
  const { id } = await peer.write(join(folder, 'in'), { ttlMs: 3_600_000 })
  const listed = await call(t, socketPath, 'persistent-cache-task', 'ls')
  assert.equal(listed.code, 0)
  assert.match(listed.output, new RegExp(`${id} +true +1h .*7 B`))
  const other = await call(t, socketPath, 'persistent-task', 'ls')
  assert.equal(other.code, 1)
  assert.match(other.output, /object storage are not supported by this peer/)
})
