/**
 * Installs the package as its users get it into an empty folder, imports it in both ways, and compiles a program against its types with the oldest and the newest
 * supported compiler. Run after a build.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { projectRoot } from '../support/project-root.ts'

const program = `import { type DownloadOptions, Peer, PeerError } from 'dragonfly-peer'

export async function fetchModel(url: string, path: string): Promise<number> {
  const options: DownloadOptions = { backToSource: 'never', onProgress: ({ bytes }) => void bytes }
  const peer = await Peer.start({ store: 'memory' })
  try {
    const download = peer.download(url, options)
    await download.toFile(path)
    const { length } = await download.done
    return length
  } catch (error) {
    if (PeerError.is(error, 'NO_PARENTS')) return -error.details.tried
    throw error
  } finally {
    await peer.close()
  }
}
`

const scripts: Readonly<Record<string, string>> = {
  'esm.mjs': `import { Peer, PeerError } from 'dragonfly-peer'
if (typeof Peer.start !== 'function' || !PeerError.is(new PeerError('CLOSED', 'x', { what: 'y' }))) process.exit(1)
`,
  // require() of an ES module.
  'cjs.cjs': `const { Peer, PeerError } = require('dragonfly-peer')
if (typeof Peer.start !== 'function' || typeof PeerError !== 'function') process.exit(1)
`,
}

const compilerOptions = {
  module: 'nodenext',
  target: 'es2022',
  lib: ['es2023', 'esnext.disposable'],
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  noEmit: true,
  skipLibCheck: false,
}

const root = projectRoot()
const folder = mkdtempSync(join(tmpdir(), 'dragonfly-peer-consumer-'))
const failed: string[] = []
try {
  const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    readonly devDependencies: Readonly<Record<string, string>>
  }
  npm(root, ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder])
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n')
  // What users have besides the package: the types of Node.js, and a compiler.
  npm(folder, [
    'install',
    ...['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--silent'],
    `./dragonfly-peer-${versionOf(root)}.tgz`,
    `@types/node@${devDependencies['@types/node']}`,
    `typescript@${devDependencies['typescript']}`,
    'typescript7@npm:typescript@7',
  ])
  for (const [name, text] of Object.entries(scripts)) {
    writeFileSync(join(folder, name), text)
    check(name, [join(folder, name)])
  }
  writeFileSync(join(folder, 'program.ts'), program)
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ compilerOptions, files: ['program.ts'] }),
  )
  for (const compiler of ['typescript', 'typescript7']) {
    check(compiler, [join(folder, 'node_modules', compiler, 'bin/tsc'), '-p', folder])
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
if (failed.length > 0) {
  console.error(`Failed: ${failed.join(', ')}`)
  process.exitCode = 1
}

function npm(cwd: string, args: readonly string[]): void {
  execFileSync('npm', args, { cwd, stdio: ['ignore', 'ignore', 'inherit'] })
}

function check(what: string, args: readonly string[]): void {
  const ran = spawnSync(process.execPath, args, { cwd: folder, stdio: 'inherit' })
  console.log(`${what}: ${ran.status === 0 ? 'works' : 'fails'}`)
  if (ran.status !== 0) failed.push(what)
}

function versionOf(path: string): string {
  const { version } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as {
    readonly version: string
  }
  return version
}
