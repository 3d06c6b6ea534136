/** What is published, against a budget. Run after a build. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { projectRoot } from '../support/project-root.ts'
import { sourceFacts } from '../support/source-facts.ts'

/** Raised knowingly, with a reason in the commit. */
const budget = { packedBytes: 620_000, unpackedBytes: 2_400_000, files: 600, dependencies: 5 }

/** Paths that have to be in the package, and such as must not be. */
const wanted = [
  'dist/index.js',
  'dist/index.d.ts',
  'native/prebuilds/linux-x64.node',
  'native/prebuilds/linux-arm64.node',
  'native/prebuilds/flow-linux-x64.node',
  'native/prebuilds/flow-linux-arm64.node',
  'README.md',
  'LICENSE',
  'package.json',
]
const unwanted = /^(src|test|bench|examples|build|node_modules)\/|\.(map|tsbuildinfo)$|\.test\./

interface Packed {
  readonly size: number
  readonly unpackedSize: number
  readonly files: readonly { readonly path: string }[]
}

const root = projectRoot()
const faults: string[] = []

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly scripts: Readonly<Record<string, string>>
}
const dependencies = Object.keys(manifest.dependencies ?? {})
atMost('run-time dependencies', dependencies.length, budget.dependencies)
for (const hook of ['preinstall', 'install', 'postinstall', 'prepare']) {
  if (hook in manifest.scripts) faults.push(`The package runs ${hook} at its users`)
}

const lock = readFileSync(join(root, 'package-lock.json'), 'utf8')
if (lock.includes('"resolved"')) faults.push('package-lock.json holds addresses')

const json = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
  cwd: root,
  encoding: 'utf8',
  stdio: ['ignore', 'pipe', 'ignore'],
})
const packed = packedOf(JSON.parse(json))
atMost('packed bytes', packed.size, budget.packedBytes)
atMost('unpacked bytes', packed.unpackedSize, budget.unpackedBytes)
atMost('files', packed.files.length, budget.files)
const paths = packed.files.map(({ path }) => path)
for (const path of wanted) if (!paths.includes(path)) faults.push(`${path} is not in the package`)
for (const path of paths) if (unwanted.test(path)) faults.push(`${path} is in the package`)

for (const [name, way] of foreignTypes(join(root, 'dist/index.d.ts'), [])) {
  faults.push(`The types lead to ${name}: ${way}`)
}

for (const fault of faults) console.error(fault)
if (faults.length > 0) process.exitCode = 1

function atMost(what: string, value: number, max: number): void {
  console.log(`${what}: ${value} of ${max}`)
  if (value > max) faults.push(`Too many ${what}: ${value}, at most ${max}`)
}

/** npm 11 answers with a list, npm 12 with an object by package name. */
function packedOf(answer: unknown): Packed {
  const [first] = Object.values(answer as Record<string, Packed>)
  if (first === undefined) throw new Error('npm pack said nothing')
  return first
}

/**
 * Packages that our declarations lead to and must not, which are all, each with one way there. Those of Connect and protobuf do not compile with the types of Node.js 20, so a
 * user who checks libraries could not use ours.
 */
function foreignTypes(
  path: string,
  way: readonly string[],
  ways = new Map<string, string>(),
  seen = new Set<string>(),
): ReadonlyMap<string, string> {
  if (seen.has(path)) return ways
  seen.add(path)
  const here = [...way, relative(root, path)]
  for (const { from } of sourceFacts(path, readFileSync(path, 'utf8')).imports) {
    if (from.startsWith('.')) {
      const target = join(dirname(path), from).replace(/\.[jt]s$/, '.d.ts')
      if (existsSync(target)) foreignTypes(target, here, ways, seen)
    } else if (!from.startsWith('node:')) {
      const name = from.split('/', from.startsWith('@') ? 2 : 1).join('/')
      if (!ways.has(name)) ways.set(name, here.join(' → '))
    }
  }
  return ways
}
