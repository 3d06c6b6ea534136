import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { tempFolder } from './temp-folder.ts'

const compiled = fileURLToPath(new URL('..', import.meta.url))

/** Runs a copy of `run.js` in a small project with these test files. Each has a source, but those in `stale`. */
function runIn(
  t: TestContext,
  files: Readonly<Record<string, string>>,
  args: readonly string[] = [],
  { stale = [] as readonly string[], timeoutMs = 60_000 } = {},
): { readonly status: number | null; readonly output: string; readonly lines: readonly string[] } {
  const root = tempFolder(t)
  write(join(root, 'package.json'), '{ "type": "module" }')
  for (const [path, text] of Object.entries(files)) {
    write(join(root, 'build/test', `${path}.test.js`), `import test from 'node:test'\n${text}\n`)
    if (!stale.includes(path)) write(join(root, 'test', `${path}.test.ts`), '')
  }
  for (const path of ['run.js', 'support/project-root.js', 'support/watchdog.js']) {
    cpSync(join(compiled, path), join(root, 'build/test', path))
  }
  const script = join(root, 'build/test/run.js')
  const env = { ...process.env, TEST_FILE_TIMEOUT_MS: String(timeoutMs) }
  const ran = spawnSync(process.execPath, [script, ...args], { encoding: 'utf8', env })
  const lines = ran.stdout.trimEnd().split('\n')
  return { status: ran.status, output: ran.stdout + ran.stderr, lines }
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}

const passing = {
  b: "test('b', () => undefined)",
  'a/a': "test('a', () => undefined)",
  'e2e/c': "test('c', () => undefined)",
}

test('run.js runs all files in order and closes with the summary of the runner', (t) => {
  const { status, output, lines } = runIn(t, passing)
  assert.equal(status, 0, output)
  assert.deepEqual(
    lines.filter((line) => line.startsWith('✔')).map((line) => line[2]),
    ['a', 'b', 'c'],
  )
  assert.match(output, /ℹ tests 3\n/)
  assert.match(lines.at(-1) ?? '', /ℹ duration_ms/)
})

test('run.js leaves out folders and takes only what matches', (t) => {
  assert.match(runIn(t, passing, ['--skip', 'e2e']).output, /ℹ tests 2\n/)
  assert.match(runIn(t, passing, ['--only', '^a/', '--only', 'c']).output, /ℹ tests 2\n/)
  const both = runIn(t, passing, ['--skip', 'e2e', '--only=e2e'])
  assert.equal(both.status, 1)
  assert.match(both.output, /No test file matches/)
})

test('run.js takes test/interop only when it is named, and then nothing else', (t) => {
  const files = { ...passing, 'interop/d': "test('d', () => undefined)" }
  assert.match(runIn(t, files).output, /ℹ tests 3\n/)
  const { status, lines } = runIn(t, files, ['--in', 'interop'])
  assert.equal(status, 0)
  assert.deepEqual(
    lines.filter((line) => line.startsWith('✔')).map((line) => line[2]),
    ['d'],
  )
  assert.equal(runIn(t, files, ['--in=interop', '--only', '/e']).status, 1)
})

test('run.js ignores a compiled test whose source is gone', (t) => {
  const ran = runIn(t, { ...passing, old: 'throw new Error()' }, [], { stale: ['old'] })
  assert.equal(ran.status, 0, ran.output)
})

test('run.js fails when a test fails, and when a file does', (t) => {
  const failing = { a: "test('a', () => { throw new Error('no') })" }
  assert.equal(runIn(t, failing).status, 1)
  assert.equal(runIn(t, { a: 'nonsense(' }).status, 1)
})

test('run.js ends a file that leaves a server open, and says what is open', (t) => {
  const leak =
    "import { createServer } from 'node:net'\ntest('a', () => void createServer().listen(0))"
  const { status, output } = runIn(t, { a: leak }, [], { timeoutMs: 500 })
  assert.equal(status, 1)
  assert.match(output, /Still running after 500 ms, open: .*TCPServerWrap/)
})
