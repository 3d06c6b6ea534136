import { dirname } from 'node:path'
import type { Ending } from '../../support/cleanup.ts'
import { binary } from './binaries.ts'
import { Program } from './program.ts'

/** What a command line tool did. */
export interface ToolResult {
  /** Null: it was killed. */
  readonly code: number | null
  /** Both streams as they came, at most the last mebibyte. */
  readonly output: string
  readonly tookMs: number
}

/** How `dfget` is called. */
export interface DfgetOptions {
  /** Where the content goes. */
  readonly output: string
  /** Whether the daemon may ask the origin by itself. @defaultValue `true` */
  readonly backToSource?: boolean
  /** Further arguments, such as `--transfer-from-dfdaemon` or `--digest`. */
  readonly args?: readonly string[]
}

/** Milliseconds for one call of a tool. */
const toolTimeoutMs = 300_000

/** A tool that works. */
export class RunningTool {
  /** Its process. */
  readonly program: Program
  readonly #startedAt = performance.now()

  constructor(program: Program) {
    this.program = program
  }

  /** Waits for its end; kills it after five minutes. */
  async result(): Promise<ToolResult> {
    const timer = setTimeout(() => void this.program.kill(), toolTimeoutMs)
    const { code } = await this.program.ended()
    clearTimeout(timer)
    return { code, output: this.program.output, tookMs: performance.now() - this.#startedAt }
  }

  /** The same, and fails unless the exit code is 0. */
  async done(): Promise<ToolResult> {
    const result = await this.result()
    if (result.code === 0) return result
    throw new Error(`${this.program.name} ended with ${result.code}\n${result.output}`)
  }
}

/** Starts `dfget` for a URL at a daemon's socket: a real daemon's, or one of ours. */
export function dfget(
  t: Ending,
  socketPath: string,
  url: string,
  { output, backToSource = true, args = [] }: DfgetOptions,
): RunningTool {
  const off = backToSource ? [] : ['--disable-back-to-source']
  const all = ['-O', output, '--no-progress', ...off, ...args, url]
  return tool(t, 'dfget', socketPath, all, dirname(output))
}

/** Starts `dfcache`, with the socket: `import PATH`, `export ID -O PATH`, `stat ID`. */
export function dfcache(
  t: Ending,
  socketPath: string,
  args: readonly string[],
  folder: string,
): RunningTool {
  return tool(t, 'dfcache', socketPath, args, folder)
}

/** Starts `dfctl`. Its commands take their own addresses, so none is added. */
export function dfctl(t: Ending, args: readonly string[], folder: string): RunningTool {
  return new RunningTool(Program.start(t, { name: 'dfctl', path: binary('dfctl'), args, folder }))
}

function tool(
  t: Ending,
  name: 'dfget' | 'dfcache',
  socketPath: string,
  args: readonly string[],
  folder: string,
): RunningTool {
  // With `dfcache` the options stand behind the subcommand.
  const all = [...args, '--endpoint', socketPath, '--console']
  return new RunningTool(Program.start(t, { name, path: binary(name), args: all, folder }))
}
