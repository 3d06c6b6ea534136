import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Puts further versions of Node.js into a folder outside of the project and gives the path of each program. They come as npm packages, so that a registry is
 * all that is needed. What is there already is used again.
 */
export function nodeVersions(
  folder: string,
  majors: readonly number[],
): ReadonlyMap<number, string> {
  const programs = new Map<number, string>()
  mkdirSync(folder, { recursive: true })
  for (const major of majors) {
    const program = join(folder, 'node_modules', `node${major}`, 'bin/node')
    programs.set(major, program)
  }
  const missing = majors.filter((major) => !existsSync(programs.get(major) ?? ''))
  if (missing.length > 0) {
    if (!existsSync(join(folder, 'package.json'))) {
      writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
    }
    const packages = missing.map(
      (major) => `node${major}@npm:node-${process.platform}-${process.arch}@${major}`,
    )
    execFileSync('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', ...packages], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'inherit'],
    })
  }
  return programs
}
