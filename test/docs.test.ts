import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import test from 'node:test'
import { interfaceFacts } from './support/interface-facts.ts'
import { readable } from './support/limit-facts.ts'
import { limitsPage, unexplained } from './support/limits-page.ts'
import { anchors, localLinks, rows, sections } from './support/markdown.ts'
import { projectFiles } from './support/project-files.ts'
import { projectRoot } from './support/project-root.ts'

const files = projectFiles()

function textOf(path: string): string {
  const text = files.get(path)
  assert.ok(text !== undefined, `${path} is missing`)
  return text
}

/** What a page says in headings and tables, and what a source says in an interface, in the same form: `NAME: a, b?`. */
function documented(page: string): string[] {
  return sections(textOf(page))
    .map(({ title, rows: cells }) => {
      const fields = cells.map(([name = '', meaning = '']) => {
        const optional = meaning.includes('*(optional') ? '?' : ''
        return `${name.replaceAll('`', '')}${optional}`
      })
      return `${title}: ${fields.toSorted().join(', ')}`
    })
    .toSorted()
}

function declared(path: string, name: string): string[] {
  return [...interfaceFacts(textOf(path), name)]
    .map(([member, fields]) => {
      const names = [...fields].map(([field, optional]) => `${field}${optional ? '?' : ''}`)
      return `${member}: ${names.toSorted().join(', ')}`
    })
    .toSorted()
}

test('docs/errors.md has each code of src/errors.ts with its details', () => {
  assert.deepEqual(documented('docs/errors.md'), declared('src/errors.ts', 'ErrorDetails'))
})

test('docs/errors.md says for each code what to do', () => {
  for (const part of textOf('docs/errors.md').split(/^### /m).slice(1)) {
    assert.match(part, /^Do: ./m, part.split('\n', 1)[0])
  }
})

test('docs/hooks.md has each channel of src/hooks.ts with its fields', () => {
  assert.deepEqual(documented('docs/hooks.md'), declared('src/hooks.ts', 'HookMessages'))
})

test('docs/limits.md holds the limits of the sources; `npm run docs:limits` writes it', () => {
  assert.deepEqual(unexplained(files), [])
  const page = textOf('docs/limits.md')
  const made = limitsPage(page, files)
  const without = (left: string, right: string): string[] => {
    const known = new Set(right.split('\n'))
    return left.split('\n').filter((line) => !known.has(line))
  }
  assert.deepEqual(without(made, page), [], 'These lines are missing: npm run docs:limits')
  assert.deepEqual(without(page, made), [], 'These lines are out of date: npm run docs:limits')
  assert.ok(page === made, 'The order is out of date: npm run docs:limits')
})

test('Links between the pages lead somewhere', () => {
  const broken: string[] = []
  for (const [path, text] of files) {
    if (!path.endsWith('.md')) continue
    for (const link of localLinks(text)) {
      const [file = '', anchor] = link.split('#')
      const target = file === '' ? path : posix.join(dirname(path), file)
      const page = files.get(target)
      const there = existsSync(join(projectRoot(), target))
      if (!there || (anchor !== undefined && !anchors(page ?? '').has(anchor))) {
        broken.push(`${path}: ${link}`)
      }
    }
  }
  assert.deepEqual(broken, [])
})

test('sections() and rows() read headings and tables', () => {
  const page = '# T\n\n### A\n\n| x | y |\n| --- | :-: |\n| `a` | b |\n\ntext | text\n\n### B\n'
  assert.deepEqual(sections(page), [
    { title: 'A', rows: [['`a`', 'b']] },
    { title: 'B', rows: [] },
  ])
  assert.deepEqual(rows('| a | b |\n'), [])
})

test('localLinks() and anchors() agree on how headings are called', () => {
  const page =
    '## What you *can* set: `a-b`\n\n```md\n[no](no.md)\n```\n[x](#y) [z](https://h/p) [w](./w.md#q)'
  assert.deepEqual(localLinks(page), ['#y', './w.md#q'])
  assert.deepEqual([...anchors(page)], ['what-you-can-set-a-b'])
})

test('interfaceFacts() reads names and fields, and which are optional', () => {
  const text = "export interface A { /** x */ ONE: { readonly a: 1; b?: 2 }; 'two:x': { c: 3 } }"
  const facts = interfaceFacts(text, 'A')
  assert.deepEqual([...facts.keys()], ['ONE', 'two:x'])
  assert.deepEqual(
    [...(facts.get('ONE') ?? [])],
    [
      ['a', false],
      ['b', true],
    ],
  )
  assert.throws(() => interfaceFacts(text, 'B'))
})

test('limitsPage() finds constants and defaults, computes them, and keeps the text around', () => {
  const source = [
    '/** Most of a. @defaultValue 4 */',
    'export const aBytesMax: number = 4 * unit',
    'const unit = 1 << 10',
    '// Two lines',
    '// of why.',
    'const waitMsMax = 90_000',
    'interface Options {',
    '  /** Most of c. */',
    '  readonly cMax: number',
    '}',
    'const defaults: Options = Object.freeze({ cMax: 7, d: 8 })',
    'const notMax = text()',
  ].join('\n')
  const page = 'before <!-- made by `npm run docs:limits` -->\nold\n<!-- end --> after'
  const made = limitsPage(
    page,
    new Map([
      ['src/task/a.ts', source],
      ['test/b.ts', 'const xMax = 1'],
    ]),
  )
  assert.ok(made.startsWith('before <!-- made') && made.endsWith('<!-- end --> after'))
  assert.deepEqual(rows(made), [
    ['`aBytesMax`', '4 KiB', '`src/task/a.ts`', 'Most of a.'],
    ['`waitMsMax`', '90 s', '`src/task/a.ts`', 'Two lines of why.'],
    ['`defaults.cMax`', '7', '`src/task/a.ts`', 'Most of c.'],
  ])
  assert.deepEqual(unexplained(new Map([['src/task/a.ts', 'const aMax = 1']])), [
    'aMax in src/task/a.ts needs a comment',
  ])
  assert.throws(() => limitsPage('no place', new Map()))
})

test('limitsPage() finds the constants of the addons, and nothing of their tests', () => {
  const source = [
    '#ifndef A_H',
    '/* Most of a. */',
    '#define A_BYTES_MAX 4294967296.0 /* as a double */',
    '/* Of "enum { no". */',
    'enum way { WAY_SEND, WAY_RECEIVE };',
    'enum {',
    '  /* Turns, in one {go},',
    '   * and no more. */',
    '  TURN_BYTES = 4 * CHUNK_BYTES,',
    '  SEEN_MIN = 0x10u,',
    '  SEEN_MAX = SEEN_MIN << 1, /* beside it */',
    '  // A chunk.',
    '  CHUNK_BYTES = (1ul << 10)',
    '};',
    '/* Most of both. */',
    'enum { X_MAX = 1, Y_MAX = 2 };',
    'enum way f(enum way way) { char text[] = "X_MAX = 3, /* "; return way; }',
  ].join('\n')
  const place = '<!-- made by `npm run docs:limits` --><!-- end -->'
  const made = limitsPage(
    place,
    new Map([
      ['native/flow/a.h', source],
      ['native/test/b.c', 'enum { B_MAX = 1 };'],
      ['src/task/a.ts', '// Most.\nconst aMax = 1'],
    ]),
  )
  assert.deepEqual(
    sections(made).map(({ title, rows: cells }) => [title, cells.length]),
    [
      ['task', 1],
      ['native/flow', 6],
    ],
  )
  assert.deepEqual(
    rows(made)
      .slice(1)
      .map(([name, value, , meaning]) => [name, value, meaning]),
    [
      ['`A_BYTES_MAX`', '4 GiB', 'Most of a.'],
      ['`TURN_BYTES`', '4 KiB', 'Turns, in one {go}, and no more.'],
      ['`SEEN_MAX`', '32', 'beside it'],
      ['`CHUNK_BYTES`', '1 KiB', 'A chunk.'],
      ['`X_MAX`', '1', 'Most of both.'],
      ['`Y_MAX`', '2', 'Most of both.'],
    ],
  )
  const unclear = new Map([['native/flow/a.c', 'enum { A_MAX = sizeof names / sizeof *names };']])
  assert.throws(() => limitsPage(place, unclear), /A_MAX in native\/flow\/a\.c/)
})

test('docs/limits.md is out of date when a number of an addon changes', () => {
  const page = textOf('docs/limits.md')
  const table: readonly (readonly [string, string, string])[] = [
    ['native/flow/job.h', 'CHUNK_BYTES = 256 * 1024', 'CHUNK_BYTES = 512 * 1024'],
    ['native/flow/job.h', 'TURN_BYTES = 1024 * 1024', 'TURN_BYTES = 4 * 1024 * 1024'],
    ['native/flow/pump.c', 'SPARE_CHUNKS_MAX = 8', 'SPARE_CHUNKS_MAX = 9'],
    ['native/flow/pump.c', 'THREADS_MAX = 4', 'THREADS_MAX = 5'],
    ['native/src/port.h', 'COMPLETIONS_MAX = 16384', 'COMPLETIONS_MAX = 16385'],
  ]
  for (const [path, now, then] of table) {
    const text = textOf(path)
    assert.ok(text.includes(now), `${path} has no ${now}`)
    const changed = new Map(files).set(path, text.replace(now, then))
    assert.notEqual(limitsPage(page, changed), page, then)
  }
})

test('readable() takes the largest unit that divides', () => {
  const table: readonly (readonly [string, number, string])[] = [
    ['xBytesMax', 1536, '1 536'],
    ['xBytesMax', 65_536, '64 KiB'],
    ['xMsMax', 90_000, '90 s'],
    ['xMsMax', 1500, '1500 ms'],
    ['countMax', 1_048_576, '1 048 576'],
  ]
  for (const [name, value, text] of table) assert.equal(readable(name, value), text)
})
