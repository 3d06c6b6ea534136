import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { cleanup } from './support/cleanup.ts'
import {
  type Compiled,
  compilePrograms,
  type DocExample,
  docExamples,
  isProgram,
  notSelfContained,
  syntaxFaults,
} from './support/doc-examples.ts'
import { projectFiles } from './support/project-files.ts'
import { projectRoot } from './support/project-root.ts'
import { tempFolder } from './support/temp-folder.ts'

/** An example that runs for longer hangs. */
const runMsMax = 60_000

const examples = [...projectFiles()]
  .filter(([path]) => path.endsWith('.md') || (path.startsWith('src/') && path.endsWith('.ts')))
  .flatMap(([path, text]) => docExamples(path, text))

/** Compiles in a folder of the project, where the package's own name leads to `dist`. */
function compile(t: TestContext, programs: readonly DocExample[]): readonly Compiled[] {
  const root = projectRoot()
  assert.ok(existsSync(join(root, 'dist/index.d.ts')), 'The package is not built: npm run build')
  mkdirSync(join(root, 'build'), { recursive: true })
  const folder = mkdtempSync(join(root, 'build/examples-'))
  cleanup(t, () => rmSync(folder, { recursive: true, force: true }))
  return compilePrograms(root, folder, programs)
}

/** What goes wrong when they are run, each in an empty folder. */
function runFaults(t: TestContext, compiled: readonly Compiled[]): string[] {
  return compiled.flatMap(({ example, script }) => {
    const ran = spawnSync(process.execPath, ['--enable-source-maps', script], {
      cwd: tempFolder(t),
      encoding: 'utf8',
      timeout: runMsMax,
    })
    if (ran.status === 0) return []
    return [`${example.place}: ${ran.error?.message ?? ran.signal ?? ''} ${ran.stderr}`]
  })
}

const page = [
  '# A',
  '```ts',
  "import { PeerError } from 'dragonfly-peer'",
  "const text: string = new PeerError('CLOSED', 'x', { what: 'y' }).code",
  '```',
  '```js',
  'not ( typescript',
  '```',
  '```ts runnable',
  "import { PeerError } from 'dragonfly-peer'",
  "if (PeerError.is(1)) throw new Error('no')",
  '```',
].join('\n')

/** The page with something changed, its first example. */
function changed(from: string, to: string, at = 0): DocExample {
  const example = docExamples('b.md', page.replace(from, to))[at]
  assert.ok(example !== undefined && page.includes(from))
  return example
}

test('The examples of comments and pages are correct syntax', () => {
  assert.ok(examples.length > 0)
  assert.deepEqual(examples.flatMap(syntaxFaults), [])
  assert.deepEqual(examples.flatMap(notSelfContained), [])
})

// One compilation for all: reading the declarations of the package takes most of the time.
test('Examples that import the package compile against it, and those that say so run', (t) => {
  const ours = examples.filter(isProgram)
  const good = docExamples('a.md', page)
  const wrong = [
    changed('text: string', 'text: number'),
    changed("what: 'y'", "what: 'y', more: 1"),
    changed('{ PeerError }', '{ PeerErrors }'),
  ]
  const throwing = changed('if (', 'if (!', 1)
  const compiled = compile(t, [...good, ...wrong, throwing, ...ours])
  const faultsOf = (group: readonly DocExample[]): (readonly string[])[] =>
    compiled.filter(({ example }) => group.includes(example)).map(({ faults }) => faults)

  assert.deepEqual(faultsOf([...good, throwing]).flat(), [])
  assert.deepEqual(
    faultsOf(wrong).map((faults) => faults.length > 0),
    [true, true, true],
  )
  assert.match(faultsOf(wrong)[2]?.[0] ?? '', /^b\.md:2, line 1: .*PeerErrors/)
  assert.ok(ours.length > 0)
  assert.deepEqual(faultsOf(ours).flat(), [])

  const runnable = compiled.filter(({ example }) => example.runnable && example !== throwing)
  t.diagnostic(`${examples.length} examples, ${ours.length} compiled, ${runnable.length - 1} run`)
  assert.deepEqual(runFaults(t, runnable), [])
  const thrown = runFaults(
    t,
    compiled.filter(({ example }) => example === throwing),
  )
  assert.match(thrown[0] ?? '', /^b\.md:9: .*Error: no/s)
})

test('docExamples() finds the blocks of pages and of doc comments', () => {
  const [first, second, ...none] = docExamples('a.md', page)
  assert.deepEqual(none, [])
  assert.deepEqual([first?.place, first?.runnable], ['a.md:2', false])
  assert.deepEqual([second?.place, second?.runnable], ['a.md:9', true])
  const fence = '`'.repeat(3)
  const source = [
    'export {}',
    '  /**',
    '   * Text.',
    '   *',
    '   * @example',
    `   * ${fence}ts`,
    '   * a {',
    '   *   b',
    `   * ${fence}`,
    '   */',
    `// ${fence}ts`,
  ].join('\n')
  assert.deepEqual(docExamples('a.ts', source), [
    { place: 'a.ts:6', code: 'a {\n  b\n', runnable: false },
  ])
})

test('syntaxFaults() and notSelfContained() find what they are for', () => {
  const of = (code: string, runnable = false): DocExample => ({ place: 'a:1', code, runnable })
  assert.match(syntaxFaults(of('const = 1'))[0] ?? '', /^a:1, line 1: /)
  assert.deepEqual(syntaxFaults(of('await using x = y()\nfor await (const z of x) use(z)')), [])
  assert.equal(notSelfContained(of('const a = 1', true)).length, 1)
  const imports = "import 'dragonfly-peer'\nimport 'express'\nimport 'node:fs'"
  assert.deepEqual(notSelfContained(of(imports, true)), ['a:1 imports express'])
  assert.deepEqual(notSelfContained(of(imports)), [])
})
