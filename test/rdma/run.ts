/**
 * Runs the tests of RDMA, after a build, in three parts: `native`, the addon and the binaries that are published; `software`, the transport over a verbs library
 * without a card; `guest`, real verbs of a kernel, in an emulated machine with RDMA devices in software.
 *
 *   npm run test:rdma                     all of them
 *   npm run test:rdma -- guest            that one
 *   npm run test:rdma -- guest --only pieces
 *
 * Options go to test/run.ts. A part for which something is not installed is left out and says so; with RDMA_TESTS=required it fails.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { projectRoot } from '../support/project-root.ts'

interface Part {
  /** Programs, and files with a slash, with the Debian packages that have them. */
  readonly needs: Readonly<Record<string, string>>
  /** Commands, one after another. */
  readonly commands: (options: readonly string[]) => readonly (readonly string[])[]
}

/** How long the guest may run, in seconds: five times what it takes on two idle cores. */
const guestTimeoutS = 1800
/** How long a file of tests may run in the guest, in milliseconds. */
const guestFileTimeoutMs = 900_000

const compilers = {
  'x86_64-linux-gnu-gcc': 'gcc',
  'aarch64-linux-gnu-gcc': 'gcc-aarch64-linux-gnu',
  '/usr/include/infiniband/verbs.h': 'libibverbs-dev',
}

const tests = [process.execPath, compiled('../run.js')]
const checks = [process.execPath, compiled('../checks/native.js')]

const parts: Readonly<Record<string, Part>> = {
  native: {
    needs: compilers,
    commands: (options) => [
      [...checks, '--abi'],
      checks,
      [...tests, '--in=rdma/native', ...options],
    ],
  },
  software: {
    needs: compilers,
    commands: (options) => [[...tests, '--only=^transport/rdma/', ...options]],
  },
  guest: {
    needs: {
      'qemu-system-x86_64': 'qemu-system-x86',
      '/bin/busybox': 'busybox-static',
      cpio: 'cpio',
      xz: 'xz-utils',
      modprobe: 'kmod',
      ip: 'iproute2',
      rdma: 'iproute2',
      setpriv: 'util-linux',
      'apt-get': 'apt',
      '/usr/lib/x86_64-linux-gnu/libibverbs.so.1': 'libibverbs1',
      '/usr/lib/x86_64-linux-gnu/libibverbs': 'ibverbs-providers',
    },
    commands: (options) => [
      [
        join(projectRoot(), 'test/rdma/guest/run.sh'),
        `--timeout=${guestTimeoutS}`,
        ...tests,
        '--in=rdma/guest-tests',
        '--test-concurrency=1',
        ...options,
      ],
    ],
  },
}

const args = process.argv.slice(2)
const names = args.filter((arg) => arg in parts)
const given = args.filter((arg) => !(arg in parts))
const required = process.env['RDMA_TESTS'] === 'required'
for (const name of names.length === 0 ? Object.keys(parts) : names) {
  const part = parts[name]
  if (part === undefined || process.exitCode !== undefined) break
  await runPart(name, part)
}

async function runPart(name: string, { needs, commands }: Part): Promise<void> {
  if (name === 'guest' && process.arch !== 'x64') {
    say('RDMA, guest: left out, it runs the programs of this machine and is an x86-64 one')
    return
  }
  const missing = Object.keys(needs).filter((each) => !isThere(each))
  if (missing.length > 0) {
    const packages = new Set(missing.map((each) => needs[each]))
    say(`RDMA, ${name}: left out, please install ${[...packages].join(' ')}`)
    if (required) process.exitCode = 1
    return
  }
  const begin = performance.now()
  for (const command of commands(given)) {
    const code = await run(command, name === 'guest' ? guestFileTimeoutMs : undefined)
    if (code === 0) continue
    process.exitCode = code
    break
  }
  say(`RDMA, ${name}: ${Math.round((performance.now() - begin) / 1000)} s`)
}

async function run(
  [program = '', ...rest]: readonly string[],
  fileTimeoutMs: number | undefined,
): Promise<number> {
  const timeout = fileTimeoutMs === undefined ? {} : { TEST_FILE_TIMEOUT_MS: String(fileTimeoutMs) }
  const child = spawn(program, rest, {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...timeout, ...process.env },
  })
  const stop = (signal: NodeJS.Signals): void => void child.kill(signal)
  process.on('SIGINT', stop).on('SIGTERM', stop)
  const [code] = (await once(child, 'exit')) as [number | null]
  process.off('SIGINT', stop).off('SIGTERM', stop)
  return code ?? 1
}

function isThere(name: string): boolean {
  if (name.includes('/')) return existsSync(name)
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK)
      return true
    } catch {
      // It is not in this folder.
      return false
    }
  })
}

function compiled(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url))
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
