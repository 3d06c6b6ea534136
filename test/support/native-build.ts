import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { projectRoot } from './project-root.ts'

/** What the addon is published for. */
export type Target = 'linux-x64' | 'linux-arm64'

export const targets: readonly Target[] = ['linux-x64', 'linux-arm64']

/** The addons. */
export type AddonName = 'rdma' | 'flow'

/** Their sources, the first part of their files' names, and what each is compiled with besides. */
const addons: Readonly<
  Record<
    AddonName,
    {
      readonly folder: string
      readonly prefix: string
      readonly define: string
      readonly flags: readonly string[]
    }
  >
> = {
  rdma: { folder: 'native/src', prefix: '', define: 'RDMA_SOURCES', flags: [] },
  flow: { folder: 'native/flow', prefix: 'flow-', define: 'SOURCES', flags: ['-O2'] },
}

/** The compiler of this machine, or the cross compiler as Debian names it. */
const compilers: Readonly<Record<Target, string>> = {
  'linux-x64': process.arch === 'x64' ? 'gcc' : 'x86_64-linux-gnu-gcc',
  'linux-arm64': process.arch === 'arm64' ? 'gcc' : 'aarch64-linux-gnu-gcc',
}

/** Aarch64 can choose its atomic instructions at run time, with code that asks for a newer C library. */
const machineFlags: Readonly<Record<Target, readonly string[]>> = {
  'linux-x64': [],
  'linux-arm64': ['-mno-outline-atomics'],
}

const warnings = ['-Wall', '-Wextra', '-Wconversion', '-Wshadow', '-Wstrict-prototypes', '-Werror']

/** Same sources and same compiler make the same bytes. */
const addonFlags = [
  '-std=gnu11',
  '-D_GNU_SOURCE',
  '-Os',
  '-fPIC',
  '-shared',
  '-fvisibility=hidden',
  '-fno-asynchronous-unwind-tables',
  '-fstack-protector-strong',
  '-D_FORTIFY_SOURCE=2',
  // There is nothing to run at loading, and what would be linked for it depends on the C library of the build.
  '-nostartfiles',
  '-static-libgcc',
  '-Wl,--build-id=none,--hash-style=gnu,-s',
  // Never unloaded: memory that it gave out may outlive the worker that loaded it.
  '-Wl,-z,relro,-z,now,-z,noexecstack,-z,nodelete,-z,noseparate-code',
  ...warnings,
]

const testLibraryFlags = [
  '-std=gnu11',
  '-D_GNU_SOURCE',
  '-O2',
  '-g',
  '-fPIC',
  '-shared',
  '-fvisibility=hidden',
  ...warnings,
]

/** The published binary for a target. */
export function prebuild(target: Target, addon: AddonName = 'rdma'): string {
  return join(projectRoot(), 'native/prebuilds', `${addons[addon].prefix}${target}.node`)
}

/** Hash of the sources of the addon, which is a part of its binary. */
export function sourcesHash(addon: AddonName = 'rdma'): string {
  const { folder } = addons[addon]
  const hash = createHash('sha256')
  for (const name of readdirSync(join(projectRoot(), folder)).toSorted()) {
    const text = readFileSync(join(projectRoot(), folder, name))
    hash.update(`${name} ${text.length}\n`).update(text)
  }
  return hash.digest('hex').slice(0, 32)
}

/** Compiles the addon. `headers` is the folder with `node_api.h` and `uv.h`. Throws with what the compiler said. */
export function compileAddon(
  target: Target,
  output: string,
  headers: string = nodeHeaders(),
  extraFlags: readonly string[] = [],
  addon: AddonName = 'rdma',
): void {
  const { folder, define, flags: own } = addons[addon]
  const flags = [...addonFlags, ...machineFlags[target], ...own, ...extraFlags]
  const sources = `-D${define}="${sourcesHash(addon)}"`
  compile(compilers[target], [...flags, sources, `-isystem${headers}`], folder, output)
}

/** Compiles the stand-in for libibverbs, or takes the one that was compiled from the same sources before. Gives its path. */
export function softverbs(): string {
  return testLibrary('softverbs', ['native/src/verbs-abi.h'])
}

/** The same of the library that holds up writes to files. */
export function gate(): string {
  return testLibrary('gate')
}

function testLibrary(of: string, more: readonly string[] = []): string {
  const folder = `native/test/${of}`
  const own = readdirSync(join(projectRoot(), folder)).toSorted()
  const hash = createHash('sha256').update(testLibraryFlags.join(' '))
  for (const path of [...own.map((name) => `${folder}/${name}`), ...more]) {
    hash.update(readFileSync(join(projectRoot(), path)))
  }
  const name = `lib${of}-${hash.digest('hex').slice(0, 16)}.so`
  const output = join(projectRoot(), 'native/build', name)
  if (!existsSync(output)) compile('gcc', [...testLibraryFlags, '-pthread'], folder, output)
  return output
}

/** Whether our declarations of the verbs ABI are those of the installed headers. Throws with what the compiler said. */
export function checkAbi(target: Target): void {
  // The headers of the machine do for a cross compiler too: they are the same for both.
  const flags = ['-fsyntax-only', '-Wall', '-Werror', '-idirafter', '/usr/include']
  call(compilers[target], [...flags, 'native/test/abi-check.c'])
}

/** The compiler that a binary names, such as `GCC: (Debian 12.2.0-14) 12.2.0`. */
export function compilerOf(binary: string): string {
  return /GCC: \([^)]*\) [\d.]+/.exec(readFileSync(binary, 'latin1'))?.[0] ?? 'unknown'
}

/** Versions of the C library that a binary asks for, highest last. */
export function libcVersions(binary: string): readonly string[] {
  const found = readFileSync(binary, 'latin1').matchAll(/GLIBC_(\d+(?:\.\d+)+)/g)
  const versions = [...new Set([...found].map(([, version]) => version ?? ''))]
  const minor = (version: string): number => Number(version.split('.')[1])
  return versions.toSorted((a, b) => minor(a) - minor(b))
}

/** The headers that came with this Node.js, as its packages on npm and its distributions have them. */
export function nodeHeaders(program: string = process.execPath): string {
  const folder = join(dirname(program), '../include/node')
  if (!existsSync(join(folder, 'node_api.h'))) throw new Error(`No headers of Node.js in ${folder}`)
  return folder
}

function compile(compiler: string, flags: readonly string[], folder: string, output: string): void {
  const sources = readdirSync(join(projectRoot(), folder))
    .filter((name) => name.endsWith('.c'))
    .toSorted()
    .map((name) => `${folder}/${name}`)
  mkdirSync(dirname(output), { recursive: true })
  // Under its name it is whole: several tests may compile it at once.
  const unfinished = `${output}.${process.pid}`
  call(compiler, [...flags, ...sources, '-o', unfinished])
  renameSync(unfinished, output)
}

function call(compiler: string, args: readonly string[]): void {
  if (spawnSync(compiler, ['--version'], { stdio: 'ignore' }).status !== 0) {
    throw new Error(`This needs ${compiler}: install gcc and gcc-aarch64-linux-gnu`)
  }
  execFileSync(compiler, args, { cwd: projectRoot(), stdio: ['ignore', 'ignore', 'pipe'] })
}
