/**
 * Runs the compiled tests on further versions of Node.js: all but the end-to-end ones, and two of those.
 *
 *   node build/test/checks/node-matrix.js <folder for the programs> 22 24
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { projectRoot } from '../support/project-root.ts'
import { nodeVersions } from './node-versions.ts'

/** The end-to-end tests that stand for the others: several processes exchange content, and nothing stays open. */
const smoke = '^e2e/(publish|close)'

const [folder = '', ...majors] = process.argv.slice(2)
if (folder === '' || majors.length === 0) throw new Error('Wanted: a folder and versions')
const run = join(projectRoot(), 'build/test/run.js')
for (const [major, program] of nodeVersions(folder, majors.map(Number))) {
  for (const args of [
    ['--skip', 'e2e'],
    ['--only', smoke],
  ]) {
    console.log(`Node ${major}: ${args.join(' ')}`)
    const ran = spawnSync(program, [run, ...args, '--test-reporter=dot'], { stdio: 'inherit' })
    if (ran.status !== 0) process.exitCode = 1
  }
}
