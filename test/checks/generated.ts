/**
 * Makes the generated code again and fails when it differs from what is committed. The generator needs a newer Node.js than the library.
 *
 *   node build/test/checks/generated.js <folder for that Node.js>
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { projectRoot } from '../support/project-root.ts'
import { nodeVersions } from './node-versions.ts'

const major = 24
const [folder = ''] = process.argv.slice(2)
if (folder === '') throw new Error('Wanted: a folder')
const program = nodeVersions(folder, [major]).get(major) ?? ''
const script = join(projectRoot(), 'proto/generate.ts')
const ran = spawnSync(program, ['--experimental-strip-types', '--no-warnings', script, '--check'], {
  stdio: 'inherit',
})
if (ran.status !== 0) process.exitCode = 1
