import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Folders of servers that the search path of a user often lacks. */
const serverFolders = ['/usr/sbin', '/usr/local/sbin', '/sbin']

/** A program of the system. @throws Error that says which package brings it */
export function systemProgram(name: string, debianPackage: string): string {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...serverFolders]
  const found = folders
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path))
  if (found !== undefined) return found
  throw new Error(`There is no ${name} here; the Debian package ${debianPackage} brings it`)
}
