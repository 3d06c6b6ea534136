import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** The real programs, as their makers name them. */
export const programNames = [
  'scheduler',
  'manager',
  'dfdaemon',
  'dfget',
  'dfcache',
  'dfctl',
] as const

/** One of them. */
export type ProgramName = (typeof programNames)[number]

/** Names the folder with the programs. */
export const folderVariable = 'DRAGONFLY_BIN'

/** Why the interop tests cannot run here. Undefined: they can. */
export function whyNot(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const folder = env[folderVariable]
  if (folder === undefined || folder === '') {
    return `${folderVariable} does not name a folder with the Dragonfly programs`
  }
  const missing = programNames.filter((name) => !existsSync(join(folder, name)))
  return missing.length === 0 ? undefined : `${folder} lacks ${missing.join(', ')}`
}

/** Path of a program. @throws Error where the tests cannot run */
export function binary(name: ProgramName): string {
  const reason = whyNot()
  if (reason !== undefined) throw new Error(reason)
  return join(process.env[folderVariable] ?? '', name)
}

/** What each program says of itself, for the report of a run. */
export function versions(): Record<ProgramName, string> {
  const said = programNames.map((name) => [name, versionOf(name)] as const)
  return Object.fromEntries(said) as Record<ProgramName, string>
}

function versionOf(name: ProgramName): string {
  const go = name === 'scheduler' || name === 'manager'
  const text = execFileSync(binary(name), [go ? 'version' : '--version'], {
    encoding: 'utf8',
    timeout: 20_000,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return go
    ? (/GitVersion:\s*(\S+)/.exec(text)?.[1] ?? 'unknown')
    : text.trim().replace(/^\w+ /, '')
}
