import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from './project-root.ts'

/** Folders that people write in. */
const folders = ['.ci', 'bench', 'docs', 'examples', 'native', 'proto', 'src', 'test']

/** Folders in them that tools write to. */
const made = ['docs/api/', 'native/build/', 'bench/node_modules/', 'bench/package-lock.json']

/** Text of all files that people write, by path below the project root, in a fixed order. `extension` as in `.ts`; empty: all. */
export function projectFiles(extension = ''): Map<string, string> {
  const root = projectRoot()
  const below = folders
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) => list(root, folder))
  const beside = readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== 'package-lock.json')
    .filter(({ name }) => /\.(md|json|c?js|ts)$|^[A-Z]+$/.test(name))
    .map((entry) => entry.name)
  return new Map(
    [...beside, ...below]
      .filter((path) => path.endsWith(extension))
      .toSorted()
      .map((path) => [path, readFileSync(join(root, path), 'utf8')]),
  )
}

function list(root: string, folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => !made.some((each) => path.startsWith(each)))
}
