import assert from 'node:assert/strict'
import test from 'node:test'
import { type Architecture, faults } from './support/architecture.ts'
import { projectFiles } from './support/project-files.ts'

const always = ['errors.ts', 'hooks.ts', 'hash', 'util']

/** The parts of `task` that say what the engine needs; what implements them sees nothing else of it. */
const ports = ['task/kind.ts', 'task/piece.ts', 'task/ports.ts']

const everythingBelowPeer = [
  ...always,
  'task',
  'transport',
  'source',
  'storage',
  'rpc',
  'scheduler',
]

const architecture: Architecture = {
  may: {
    'errors.ts': [],
    'hooks.ts': ['errors.ts'],
    'index.ts': [...everythingBelowPeer, 'peer', 'proxy'],
    util: ['errors.ts'],
    hash: ['errors.ts', 'util'],
    task: always,
    transport: [...always, ...ports],
    source: [...always, ...ports],
    storage: [...always, ...ports],
    rpc: ['errors.ts', 'hash'],
    scheduler: [...always, 'task', 'rpc'],
    peer: everythingBelowPeer,
    proxy: ['errors.ts', 'hooks.ts', 'util', 'peer/peer.ts', 'peer/options.ts'],
  },
  mayTypes: { rpc: ['task'] },
  packages: {
    '@bufbuild/protobuf': ['rpc', 'scheduler', 'peer'],
    '@connectrpc/connect': ['rpc', 'scheduler', 'peer'],
    '@connectrpc/connect-node': ['rpc'],
    'p-queue': ['task/fetcher.ts'],
    'undici-types': ['rpc/headers-init.d.ts'],
    'xxhash-wasm': ['hash'],
  },
  pure: ['task'],
  generated: ['src/rpc/gen'],
  linesMax: 400,
}

test('The sources keep to the architecture', () => {
  const files = projectFiles('.ts')
  assert.ok(files.has('src/errors.ts'))
  assert.deepEqual(faults(files, architecture), [])
})

/** Puts words together that this file must not hold itself. */
const word = (...parts: readonly string[]): string => parts.join('')

/** Unfinished work, and paths of one machine. */
const banned = new RegExp(
  [
    `\\b(${[word('TO', 'DO'), word('FIX', 'ME'), word('XX', 'X')].join('|')})\\b`,
    String.raw`(^|[^\w.$/])/(home|Users|root|work)/`,
  ].join('|'),
)

test('No file holds unfinished work or a path of one machine', () => {
  const lines: string[] = []
  for (const [path, text] of projectFiles()) {
    for (const [at, line] of text.split('\n').entries()) {
      if (banned.test(line)) lines.push(`${path}:${at + 1}: ${line.trim()}`)
    }
  }
  assert.deepEqual(lines, [])
})

test('The banned words are found where they stand', () => {
  const bad = [
    word('// TO', 'DO later'),
    word('FIX', 'ME'),
    word("'/ho", "me/me/x'"),
    word('cd /wo', 'rk/main'),
  ]
  for (const line of bad) assert.match(line, banned)
  for (const line of ['./work/x', 'build/work/', 'https://host/home/x', 'mastodon']) {
    assert.doesNotMatch(line, banned)
  }
})

/** Faults of a set of small files. */
function found(files: Readonly<Record<string, string>>): readonly string[] {
  return faults(new Map(Object.entries(files)), architecture)
}

test('faults() finds each import that the table does not allow', () => {
  const table: readonly (readonly [string, string, RegExp])[] = [
    ['task/a.ts', "import { b } from '../peer/b.ts'", /task may not import peer\/b\.ts/],
    ['task/a.ts', "export { b } from '../storage/b.ts'", /task may not import/],
    ['task/a.ts', "export * from '../storage/b.ts'", /task may not import/],
    ['task/a.ts', "const b = await import('../rpc/b.ts')", /task may not import/],
    ['task/a.ts', "let b: import('../rpc/b.ts').B", /task may not import/],
    ['task/a.ts', "import type { B } from '../rpc/b.ts'", /task may not import/],
    ['task/planner.ts', "import PQueue from 'p-queue'", /only task\/fetcher\.ts may/],
    ['hash/a.ts', "import { x } from '@connectrpc/connect/protocol'", /only rpc, scheduler/],
    ['hash/a.ts', "import { x } from 'lodash/fp'", /no row in the table/],
    ['storage/a.ts', "import { Planner } from '../task/planner.ts'", /storage may not import/],
    ['storage/a.ts', "import { http } from '../source/http.ts'", /storage may not import/],
    ['transport/tcp/a.ts', "import { x } from '../../rpc/channel.ts'", /transport may not import/],
    ['rpc/a.ts', "import { kinds } from '../task/kind.ts'", /rpc may import only types/],
    ['rpc/a.ts', "import { type A, b } from '../task/kind.ts'", /rpc may import only types/],
    ['util/a.ts', "import { publish } from '../hooks.ts'", /util may not import hooks\.ts/],
    ['errors.ts', "import { x } from './util/x.ts'", /errors\.ts may not import/],
    ['proxy/a.ts', "import { x } from '../peer/tasks.ts'", /proxy may not import/],
    ['task/a.ts', "import { open } from 'node:fs/promises'", /no sockets, files or clocks/],
    ['peer/a.ts', "import { x } from '../../test/x.ts'", /outside of src/],
    ['task2/a.ts', '', /task2, which has no row/],
  ]
  for (const [place, text, expected] of table) {
    const sentences = found({ [`src/${place}`]: text })
    assert.equal(sentences.length, 1, `${place}: ${text}`)
    assert.match(sentences[0] ?? '', expected)
  }
})

test('faults() allows what the table allows', () => {
  const files = {
    'src/task/fetcher.ts': "import PQueue from 'p-queue'\nimport { a } from './a.ts'",
    'src/task/a.ts': "import { Bitmap } from '../util/bitmap.ts'\nimport { on } from 'node:events'",
    'src/storage/disk/a.ts':
      "import { piece } from '../../task/piece.ts'\nimport { open } from 'node:fs'\nimport { b } from '../b.ts'",
    'src/rpc/a.ts':
      "import type { Piece } from '../task/piece.ts'\nimport { type Kind } from '../task/kind.ts'",
    'src/rpc/gen/a_pb.ts': `import { x } from '@bufbuild/protobuf/codegenv2'\n${'x\n'.repeat(500)}`,
    'src/peer/a.ts': "import { x } from '../scheduler/embedded/x.ts'",
    'src/hash/a.ts':
      "// import { x } from '../peer/x.ts'\nexport const text = \"import '../peer/x.ts'\"",
    'test/a.ts': "import { x } from '../src/peer/x.ts'\nconsole.log(x)",
  }
  assert.deepEqual(found(files), [])
})

test('faults() finds circles, also through types, and each once', () => {
  const files = {
    'src/util/a.ts': "import { b } from './b.ts'",
    'src/util/b.ts': "import type { C } from './sub/c.ts'",
    'src/util/sub/c.ts': "export * from '../a.ts'\nexport * from '../d.ts'",
    'src/util/d.ts': "import './a.ts'",
  }
  assert.deepEqual(found(files), [
    'Circle: util/a.ts → util/b.ts → util/sub/c.ts → util/a.ts',
    'Circle: util/a.ts → util/b.ts → util/sub/c.ts → util/d.ts → util/a.ts',
  ])
})

test('faults() finds files that are too long, badly named, print, or export by default', () => {
  const line = 'export {}\n'
  assert.deepEqual(found({ 'src/util/a.ts': line.repeat(400), 'src/index.ts': line }), [])
  const table: readonly (readonly [string, string, RegExp])[] = [
    ['src/util/a.ts', line.repeat(401), /has 401 lines, more than 400/],
    ['test/a.ts', line.repeat(401), /has 401 lines/],
    ['src/task/utils.ts', '', /name that does not say/],
    ['src/peer/index.ts', '', /name that does not say/],
    ['test/support/helpers.ts', '', /name that does not say/],
    ['src/util/a.ts', 'export default 1', /default export/],
    ['src/util/a.ts', 'export default function a() {}', /default export/],
    ['src/util/a.ts', 'class A {}\nexport { A as default }', /default export/],
    ['src/util/a.ts', "if (1) console.error('x')", /uses console\.error/],
    ['src/task/a.ts', 'const now = Date.now()', /uses Date\.now/],
    ['src/task/a.ts', 'const now = new Date()', /uses new Date/],
    ['src/task/a.ts', 'const timer = setTimeout(x, 1)', /uses setTimeout/],
  ]
  for (const [path, text, expected] of table) {
    const sentences = found({ [path]: text })
    assert.equal(sentences.length, 1, `${path}: ${sentences.join()}`)
    assert.match(sentences[0] ?? '', expected)
  }
  const example = '/**\n * ```ts\n * console.log(Date.now())\n * ```\n */\nexport const a = 1\n'
  assert.deepEqual(found({ 'src/task/a.ts': example }), [])
})
