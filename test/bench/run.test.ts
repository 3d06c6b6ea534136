import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { panels, svg } from '../../bench/bars.ts'
import type { Row } from '../../bench/benchmark.ts'
import { rowsAsJson, rowsOfJson } from '../../bench/json.ts'
import { notMeasured } from '../../bench/statistics.ts'
import { table } from '../../bench/table.ts'
import { projectRoot } from '../support/project-root.ts'
import { tempFolder } from '../support/temp-folder.ts'

const compiled = fileURLToPath(new URL('../../bench', import.meta.url))

async function run(
  script: string,
  args: readonly string[],
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  try {
    const ended = await promisify(execFile)(process.execPath, [join(compiled, script), ...args])
    return { code: 0, ...ended }
  } catch (error) {
    return error as { readonly code: number; readonly stdout: string; readonly stderr: string }
  }
}

const row: Row = {
  name: 'one parent to a file, beside C',
  value: 500,
  unit: 'MiB/s',
  reference: 'C',
  referenceValue: 1000,
  ratio: 0.5,
  goal: 'ratio ≥ 0.9',
  holds: false,
  range: [400, 600],
  referenceRange: [900, 1100],
}

test('run.js measures a benchmark beside its reference, and writes what it prints as JSON', async (t: TestContext) => {
  const folder = tempFolder(t)
  const json = join(folder, 'results.json')
  const bytes = 32 * 2 ** 20
  const args = ['--only', 'one-parent-memory', '--quick', '--runs', '2', '--bytes', String(bytes)]
  const ended = await run('run.js', [...args, '--folder', folder, '--json', json])
  assert.equal(ended.code, 0, ended.stderr)
  const rows = rowsOfJson(readFileSync(json, 'utf8'))
  assert.deepEqual(
    rows.map(({ name, unit }) => [name, unit]),
    [
      ['one parent to memory', 'MiB/s'],
      ['one parent to memory: processor', 'CPU s/GiB'],
      ['one parent to memory: peak resident', 'MiB'],
      ['one parent to memory: longest turn', 'ms'],
      ['one parent to memory, beside memory touched before', 'MiB/s'],
    ],
  )
  for (const { name, value, referenceValue, ratio, goal, holds, range } of rows) {
    assert.ok(value > 0 && referenceValue > 0, `${name}: ${value}, ${referenceValue}`)
    assert.equal(ratio, value / referenceValue)
    assert.equal(holds === undefined, goal === '')
    assert.ok(range !== undefined && range[0] <= value && value <= range[1])
    assert.ok(ended.stdout.includes(name))
  }
  assert.deepEqual(readdirSync(folder), ['results.json'], 'What it wrote is removed')
})

test('run.js knows its benchmarks', async () => {
  const { code, stdout } = await run('run.js', ['--list'])
  assert.equal(code, 0)
  for (const name of ['one-parent-file', 'programs', 'memory', 'silent-parent', 'origin-share']) {
    assert.match(stdout, new RegExp(`^${name}: `, 'm'))
  }
  const help = await run('run.js', ['--help'])
  for (const option of [
    '--quick',
    '--only',
    '--runs',
    '--bytes',
    '--folder',
    '--json',
    '--strict',
  ]) {
    assert.match(help.stdout, new RegExp(`^  ${option} `, 'm'))
  }
  const unknown = await run('run.js', ['--only', 'nothing'])
  assert.equal(unknown.code, 1)
  assert.match(unknown.stderr, /There is no benchmark nothing/)
})

test('run.js has rows for what a quick run leaves out, and takes only whole parts of names', async (t: TestContext) => {
  const json = join(tempFolder(t), 'results.json')
  const { code, stdout } = await run('run.js', [
    '--quick',
    '--only',
    'fan-out-16,fan-out-64',
    '--json',
    json,
  ])
  assert.equal(code, 0)
  assert.match(
    stdout,
    /^fan-out to 64 peers +- +- +- +ratio ≤ 1\.4 +not measured: not in --quick$/m,
  )
  const rows = rowsOfJson(readFileSync(json, 'utf8'))
  assert.deepEqual(
    rows.map(({ name, value, holds, note }) => [name, value, holds, note]),
    [
      ['fan-out to 16 peers', Number.NaN, undefined, 'not in --quick'],
      ['fan-out to 64 peers', Number.NaN, undefined, 'not in --quick'],
    ],
  )
  const unknown = await run('run.js', ['--only', 'fan-o'])
  assert.match(unknown.stderr, /There is no benchmark fan-o\b/)
})

test('rowsOfJson() reads what rowsAsJson() wrote, with null for what there is not', () => {
  const alone: Row = { ...row, referenceValue: Number.NaN, ratio: Number.NaN, holds: undefined }
  const text = rowsAsJson([row, alone])
  const [, plain] = JSON.parse(text) as Record<string, unknown>[]
  assert.deepEqual(
    [plain?.['referenceValue'], plain?.['ratio'], plain?.['holds']],
    [null, null, null],
  )
  assert.deepEqual(rowsOfJson(text), [row, alone])
  assert.throws(() => rowsOfJson('{}'), TypeError)
})

test('table() has a line for each row, and says what is not reached', () => {
  const lines = table([row, { ...row, holds: true }, { ...row, holds: undefined, goal: '' }]).split(
    '\n',
  )
  assert.equal(lines.length, 4)
  assert.match(
    lines[1] ?? '',
    /500 \(400 to 600\) MiB\/s +1000 \(900 to 1100\) +C +0\.50 +ratio ≥ 0\.9 +NOT REACHED$/,
  )
  assert.match(lines[2] ?? '', / holds$/)
  assert.match(lines[3] ?? '', /0\.50$/)
  const why = { name: 'memory', unit: 'MiB', goal: '≤ 128 MiB', why: 'not here' }
  assert.match(table([notMeasured(why)]), /^memory +- +- +- +≤ 128 MiB +not measured: not here$/m)
  const alone: Row = { ...row, ratio: Number.NaN, holds: undefined, note: 'not compared: why' }
  assert.match(table([alone]), /not compared: why$/m)
})

test('chart.js draws the figures of the JSON', async (t: TestContext) => {
  const folder = tempFolder(t)
  const [json, path] = [join(folder, 'a.json'), join(folder, 'a.svg')]
  const { writeFileSync } = await import('node:fs')
  const processor = { ...row, name: `${row.name}: processor`, unit: 'CPU s/GiB', value: 2.5 }
  writeFileSync(json, rowsAsJson([row, processor]))
  assert.equal((await run('chart.js', ['--json', json, '--svg', path])).code, 0)
  const text = readFileSync(path, 'utf8')
  assert.deepEqual(
    [...text.matchAll(/class="value"[^>]*>([^<]*)</g)].map(([, value]) => value),
    ['500', '1000', '2.50', '1000'],
  )
  const widths = [...text.matchAll(/<rect [^>]*width="([\d.]+)"/g)].map(([, each]) => Number(each))
  const [ours = 0, theirs = 0] = widths
  assert.ok(Math.abs(theirs / ours - 2) < 0.01, `${ours} and ${theirs}`)
  assert.match(text, /prefers-color-scheme: dark/)
})

test('panels() leaves out what was not measured', () => {
  assert.deepEqual(panels([]), [])
  const none = {
    ...row,
    name: 'one parent to a file, beside webtorrent',
    referenceValue: Number.NaN,
  }
  const [panel] = panels([row, none])
  assert.deepEqual(
    panel?.bars.map(({ label, value, isOurs }) => [label, value, isOurs]),
    [
      ['dragonfly-peer', 500, true],
      ['C: sendfile, recv, crc32, pwrite', 1000, false],
    ],
  )
})

test('docs/speed.svg is drawn from bench/results.json', () => {
  const [json, path] = ['bench/results.json', 'docs/speed.svg'].map((each) =>
    join(projectRoot(), each),
  )
  assert.ok(json !== undefined && path !== undefined && existsSync(json))
  const about = /class="note"[^>]*>([^<]*)</.exec(readFileSync(path, 'utf8'))?.[1] ?? ''
  assert.equal(
    readFileSync(path, 'utf8'),
    svg(panels(rowsOfJson(readFileSync(json, 'utf8'))), about),
  )
})
