/**
 * Runs the tests against the real Dragonfly programs, one file after another, and prints what came of each case as a table for docs/interop.md.
 *
 *   DRAGONFLY_BIN=/folder/with/programs npm run test:interop
 *   DRAGONFLY_BIN=/folder/with/programs npm run test:interop -- --only child
 *
 * Options are those of test/run.ts. Without the programs it says so and is content.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { versions, whyNot } from './support/binaries.ts'
import { resultsVariable } from './support/matrix.ts'
import { readResults, resultsTable } from './support/results.ts'

/** A file may start several daemons, wait for the list of seeds and move gigabytes. */
const fileTimeoutMs = 1_800_000

const reason = whyNot()
if (reason === undefined) await run()
else console.log(`The interop tests were skipped: ${reason}`)

async function run(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'dragonfly-peer-interop-'))
  const resultsPath = join(folder, 'results')
  try {
    const runner = spawn(
      process.execPath,
      [
        fileURLToPath(new URL('../run.js', import.meta.url)),
        '--in=interop',
        '--test-concurrency=1',
        ...process.argv.slice(2),
      ],
      {
        stdio: ['ignore', 'inherit', 'inherit'],
        env: {
          TEST_FILE_TIMEOUT_MS: String(fileTimeoutMs),
          ...process.env,
          [resultsVariable]: resultsPath,
        },
      },
    )
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => runner.kill(signal))
    }
    const [code] = (await once(runner, 'exit')) as [number | null]
    process.exitCode = code ?? 1
    report(resultsPath)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function report(resultsPath: string): void {
  const results = readResults(resultsPath)
  if (results.length === 0) return
  const programs = Object.entries(versions()).map(([name, version]) => `${name} ${version}`)
  console.log(`\n${resultsTable(results)}\n\nNode ${process.version}; ${programs.join('; ')}`)
}
