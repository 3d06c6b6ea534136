/**
 * Runs the compiled tests with the test runner of this Node. Lists the files itself, because `node --test` takes folders on 20 only and globs from 21 on only.
 *
 *   node build/test/run.js                       everything, but what needs programs that are not everywhere (test/interop, test/rdma)
 *   node build/test/run.js --in interop          only that folder
 *   node build/test/run.js --skip e2e            without the folder test/e2e
 *   node build/test/run.js --only scheduler/     only paths that match this regular expression
 *
 * The last two can be repeated. Other options go to Node as they are, such as `--test-reporter=dot`.
 * `TEST_FILE_TIMEOUT_MS` sets how long one file may take.
 */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { projectRoot } from './support/project-root.ts'

/** A file of tests that takes longer hangs. */
const timeoutMs = Number(process.env['TEST_FILE_TIMEOUT_MS'] ?? 300_000)
/** More files at once than this disturb each other's timing. */
const concurrencyMax = 4

/** Folders that run only when they are named. */
const apart = ['interop', 'rdma']

const { inside, skip, only, others } = options(process.argv.slice(2))
const files = chosen(dirname(fileURLToPath(import.meta.url)))
if (files.length === 0) {
  console.error('No test file matches')
  process.exitCode = 1
} else {
  run()
}

/** The test files in a fixed order. A compiled file whose source is gone is a leftover of an older build. */
function chosen(folder: string): string[] {
  const sources = join(projectRoot(), 'test')
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => path.endsWith('.test.js'))
    .filter((path) => existsSync(join(sources, path.replace(/js$/, 'ts'))))
    .filter(
      (path) =>
        (inside ?? apart).some((name) => path.startsWith(`${name}/`)) === (inside !== undefined),
    )
    .filter((path) => !skip.some((name) => path.startsWith(`${name}/`)))
    .filter((path) => only.length === 0 || only.some((pattern) => pattern.test(path)))
    .toSorted()
    .map((path) => join(folder, path))
}

function run(): void {
  // A test may start this script: then it is not a part of the outer run, as the runner would think from its environment.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  env['TEST_FILE_TIMEOUT_MS'] = String(timeoutMs)
  const runner = spawn(
    process.execPath,
    [
      '--enable-source-maps',
      `--import=${new URL('support/watchdog.js', import.meta.url).href}`,
      '--test',
      `--test-concurrency=${Math.min(availableParallelism(), concurrencyMax)}`,
      // The watchdog says more, so it goes first.
      `--test-timeout=${timeoutMs + 5000}`,
      ...(others.some((option) => option.startsWith('--test-reporter'))
        ? []
        : ['--test-reporter=spec']),
      ...others,
      ...files,
    ],
    { stdio: ['ignore', 'inherit', 'inherit'], env },
  )
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => runner.kill(signal))
  runner.on('exit', (code) => {
    process.exitCode = code ?? 1
  })
}

function options(args: readonly string[]): {
  readonly inside: readonly string[] | undefined
  readonly skip: readonly string[]
  readonly only: readonly RegExp[]
  readonly others: readonly string[]
} {
  const { tokens } = parseArgs({
    args: [...args],
    options: {
      in: { type: 'string' },
      skip: { type: 'string', multiple: true },
      only: { type: 'string', multiple: true },
    },
    strict: false,
    tokens: true,
  })
  const found = {
    inside: undefined as string[] | undefined,
    skip: [] as string[],
    only: [] as RegExp[],
    others: [] as string[],
  }
  for (const token of tokens) {
    if (token.kind !== 'option') continue
    if (token.name === 'in' && token.value !== undefined) found.inside = [token.value]
    else if (token.name === 'skip' && token.value !== undefined) found.skip.push(token.value)
    else if (token.name === 'only' && token.value !== undefined) {
      found.only.push(new RegExp(token.value))
    } else found.others.push(token.rawName + (token.value === undefined ? '' : `=${token.value}`))
  }
  return found
}
