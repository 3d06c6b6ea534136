// Makes src/rpc/gen from the .proto files beside this script. Needs Node 22.6 or later, because the
// generator does; what it makes runs on Node 20.
//
//   node --experimental-strip-types proto/generate.ts          writes src/rpc/gen
//   node --experimental-strip-types proto/generate.ts --check  exits with 1 if src/rpc/gen differs

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

// Exact versions, so that the same .proto files give the same bytes everywhere. The plugin writes
// its version into each file and must not be newer than @bufbuild/protobuf in package.json.
const packages = ['@bufbuild/buf@1.75.0', '@bufbuild/protoc-gen-es@2.17.0']

// erasable_syntax turns enums into constant objects, which erasableSyntaxOnly asks for.
const options = ['target=ts', 'import_extension=.ts', 'erasable_syntax=true']

const protoFolder = fileURLToPath(new URL('.', import.meta.url))
const genFolder = fileURLToPath(new URL('../src/rpc/gen', import.meta.url))
const workFolder = mkdtempSync(join(tmpdir(), 'dragonfly-peer-generate-'))

try {
  if (process.argv.includes('--check')) {
    const fresh = join(workFolder, 'gen')
    generate(fresh)
    const different = differences(fresh, genFolder)
    for (const path of different) process.stderr.write(`Differs from its .proto file: ${path}\n`)
    process.exitCode = different.length === 0 ? 0 : 1
  } else {
    generate(genFolder)
  }
} finally {
  rmSync(workFolder, { recursive: true, force: true })
}

/** Installs the generator into the work folder and lets it replace `outFolder`. */
function generate(outFolder: string): void {
  const inWorkFolder = { cwd: workFolder, stdio: 'inherit' } as const
  // Without scripts: buf's binary is a package of its own, its install script is not needed.
  const install = ['install', '--prefix', workFolder, '--no-audit', '--no-fund', '--ignore-scripts']
  execFileSync('npm', [...install, ...packages], inWorkFolder)
  const program = (path: string): string => join(workFolder, 'node_modules', '@bufbuild', path)
  const plugin = {
    local: [process.execPath, program('protoc-gen-es/bin/protoc-gen-es')],
    out: outFolder,
    opt: options,
  }
  const template = JSON.stringify({ version: 'v2', clean: true, plugins: [plugin] })
  const arguments_ = ['generate', protoFolder, '--template', template]
  execFileSync(process.execPath, [program('buf/bin/buf'), ...arguments_], inWorkFolder)
}

/** Paths that exist in only one of two folders or have different content. */
function differences(left: string, right: string): string[] {
  const paths = new Set([...filesOf(left), ...filesOf(right)])
  return [...paths].filter((path) => contentOf(left, path) !== contentOf(right, path)).toSorted()
}

function filesOf(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile())
  return files.map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
}

function contentOf(folder: string, path: string): string | undefined {
  return filesOf(folder).includes(path) ? readFileSync(join(folder, path), 'utf8') : undefined
}
