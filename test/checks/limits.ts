/** Writes the tables of docs/limits.md from the constants of the sources. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { limitsPage, unexplained } from '../support/limits-page.ts'
import { projectFiles } from '../support/project-files.ts'
import { projectRoot } from '../support/project-root.ts'

const files = projectFiles()
const path = join(projectRoot(), 'docs/limits.md')
writeFileSync(path, limitsPage(readFileSync(path, 'utf8'), files))
for (const sentence of unexplained(files)) {
  console.error(sentence)
  process.exitCode = 1
}
