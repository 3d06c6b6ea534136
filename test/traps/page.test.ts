import assert from 'node:assert/strict'
import test from 'node:test'
import { rows } from '../support/markdown.ts'
import { projectFiles } from '../support/project-files.ts'

const files = projectFiles()

/** The tables of the page, by heading. */
function tables(): ReadonlyMap<string, readonly (readonly string[])[]> {
  const page = files.get('docs/traps.md')
  assert.ok(page !== undefined)
  const parts = page.split(/^### /m).slice(1)
  return new Map(parts.map((part) => [part.split('\n', 1)[0] ?? '', rows(part)]))
}

/** Whether a source holds a test of this name, written as it stands there. */
function hasTest(source: string, name: string): boolean {
  const text = source.replaceAll("\\'", "'")
  return ["'", '"', '`'].some((quote) => {
    const quoted = `${quote}${name}${quote}`
    for (let at = text.indexOf(quoted); at >= 0; at = text.indexOf(quoted, at + 1)) {
      if (/\b(test|check|it\w*)\(\s*$/.test(text.slice(Math.max(0, at - 40), at))) return true
    }
    return false
  })
}

test('docs/traps.md has every trap of the reference, each once', () => {
  const counts = [...tables()].map(([title, table]) => {
    const numbers = table.map(([number]) => Number(number))
    assert.deepEqual(
      numbers,
      numbers.map((_, at) => at + 1),
      title,
    )
    return `${title}: ${numbers.length}`
  })
  assert.deepEqual(counts, [
    'Interop traps of the data plane: 12',
    'Weaknesses of the data plane: 43',
    'Facts of the control plane: 10',
    'Weaknesses of the control plane: 31',
    'Bad input: 12',
  ])
})

test('docs/traps.md names tests that there are, or a reason', () => {
  const missing: string[] = []
  for (const [title, table] of tables()) {
    for (const [number, , , guards = ''] of table) {
      if (/^– \S/.test(guards)) continue
      for (const guard of guards.split('<br>')) {
        const [, path = '', name = ''] = /^`(test\/[^`]+\.ts)`: `([^`]+)`$/.exec(guard) ?? []
        const source = files.get(path)
        if (source === undefined || !hasTest(source, name)) {
          missing.push(`${title} ${number}: ${guard}`)
        }
      }
    }
  }
  assert.deepEqual(missing, [])
})

test('hasTest() finds tests by name, and nothing else', () => {
  const source = "const a = 'x y'\ntest('one', f)\n  it(\n    `two $`, f)\ncheck(\"it's\", f)"
  const found = ['one', 'two $', "it's", 'x y', 'on', 'one two'].filter((name) =>
    hasTest(source, name),
  )
  assert.deepEqual(found, ['one', 'two $', "it's"])
})

test('No source calls what aborts a Rust daemon', () => {
  const deadly = [
    ...['downloadCacheTask', 'statCacheTask', 'deleteCacheTask'],
    ...['syncCachePieces', 'downloadCachePiece'],
  ]
  for (const [path, text] of files) {
    if (!path.startsWith('src/') || path.startsWith('src/rpc/gen/')) continue
    for (const method of deadly) assert.ok(!text.includes(`.${method}(`), `${path} calls ${method}`)
    // Of daemons nobody asks StatTask: short ids abort it, and the scheduler knows.
    assert.ok(!/DfdaemonUpload[^]*\.statTask\(/.test(text) || path.endsWith('upload-service.ts'))
  }
})
