import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Blow } from './blow.ts'
import type { Order } from './child.ts'
import { finish, inspect, type Scene } from './inspection.ts'
import { type PeerItem, peerContent, peerItems, storeItems } from './items.ts'
import { type Chain, chains, type Passed } from './plan.ts'
import { Wrong, type WrongKind } from './wrong.ts'

/** A life, or a look at what it left, that takes longer hangs. */
const lifeMsMax = 60_000
/** After so many failures the rest is not worth the time. */
const failuresMax = 10
/** Trials between two words of how far it is. */
const tellEvery = 250
/** Content that lies in files of the application. */
const adoptable = ['item3', 'item5', 'item8', 'item11']

/** What is asked for. */
export interface TrialOptions {
  readonly trials: number
  readonly seed: number
  /** Chains that run at the same time. */
  readonly jobs: number
  /** Kill at points only whose name has this in it. */
  readonly only?: string
  /** This chain only. */
  readonly chain?: number
}

/** What came of it. */
export interface TrialResults {
  trials: number
  /** Pieces that were there after a kill, and compared. */
  pieces: number
  /** Points at which a process was to be killed, and how often each. */
  readonly points: Map<string, number>
  readonly failures: { readonly kind: WrongKind; readonly chain: number; readonly text: string }[]
}

/** Runs as many trials as are wanted. Failures are told as they come, and counted. */
export async function runTrials(
  options: TrialOptions,
  tell: (line: string) => void,
): Promise<TrialResults> {
  const results: TrialResults = { trials: 0, pieces: 0, points: new Map(), failures: [] }
  const origin = await startOrigin()
  try {
    const { seed, only } = options
    const at = `http://127.0.0.1:${(origin.address() as AddressInfo).port}`
    const choices = {
      store: await passedBy('store', at),
      peer: await passedBy('peer', at),
      ...(only === undefined ? {} : { only }),
    }
    for (const point of [...choices.store.keys(), ...choices.peer.keys()]) {
      if (only === undefined || point.includes(only)) results.points.set(point, 0)
    }
    if (results.points.size === 0) throw new RangeError(`No point is called ${String(only)}`)
    const begun = performance.now()
    const onTrial = (): void => {
      if (results.trials % tellEvery > 0) return
      const seconds = Math.round((performance.now() - begun) / 1000)
      tell(`${results.trials} trials after ${seconds} s`)
    }
    const plan = wantedChains(chains(seed, choices), options)
    const next = async (): Promise<void> => {
      for (const chain of plan) {
        if (results.failures.length >= failuresMax) return
        await runChain(chain, { origin: at, onTrial }, results).catch((error: unknown) => {
          const kind = error instanceof Wrong ? error.kind : 'fault of a life'
          const text = error instanceof Wrong ? error.message : `${kind}: ${stackOf(error)}`
          results.failures.push({ kind, chain: chain.number, text })
          const replay = `npm run test:crash -- --seed ${seed} --chain ${chain.number}`
          const named = only === undefined ? '' : ` --only '${only}'`
          tell(`FAILED ${text} · again with: ${replay}${named}`)
        })
      }
    }
    await Promise.all(Array.from({ length: options.jobs }, next))
    return results
  } finally {
    origin.close()
    origin.closeAllConnections()
  }
}

function* wantedChains(all: Iterable<Chain>, options: TrialOptions): Generator<Chain> {
  for (const chain of all) {
    const first = chain.trials[0]?.number ?? 0
    if (options.chain === undefined && first > options.trials) return
    if (options.chain === undefined || options.chain === chain.number) yield chain
    if (options.chain === chain.number) return
  }
}

async function runChain(
  { life, trials }: Chain,
  { origin, onTrial }: { readonly origin: string; readonly onTrial: () => void },
  results: TrialResults,
): Promise<void> {
  const root = newRoot(life)
  try {
    for (const [place, trial] of trials.entries()) {
      const { blow, seed } = trial
      if (blow.is === 'point') {
        results.points.set(blow.point, (results.points.get(blow.point) ?? 0) + 1)
      }
      const believing = blow.is !== 'power'
      const scene: Scene = { life, root, origin, believing }
      try {
        await live({ life, root, seed, blow, origin, believing })
        if (trial.inspected) results.pieces += await within(inspect(scene))
        if (place === trials.length - 1) await within(finish(scene))
      } catch (error) {
        const before = `trial ${trial.number} ${JSON.stringify(blow)}`
        if (error instanceof Wrong) throw new Wrong(error.kind, `${error.message} (${before})`)
        throw new Wrong('fault of a life', `${stackOf(error)} (${before})`, error)
      }
      results.trials++
      onTrial()
    }
  } finally {
    rmSync(root, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** A child, to its end. What it says when it was not killed. */
async function live(order: Order): Promise<string> {
  const { blow } = order
  const script = fileURLToPath(new URL('./child.js', import.meta.url))
  const child = spawn(process.execPath, [script, JSON.stringify(order)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  let complained = ''
  let timer: NodeJS.Timeout | undefined
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    if (said === '' && blow.is === 'time') {
      timer = setTimeout(() => child.kill('SIGKILL'), blow.afterMs)
    }
    said += part
  })
  child.stderr.setEncoding('utf8').on('data', (part: string) => {
    complained += part
  })
  let hung = false
  const late = setTimeout(() => {
    hung = true
    child.kill('SIGKILL')
  }, lifeMsMax)
  await once(child, 'close')
  clearTimeout(late)
  clearTimeout(timer)
  if (hung) throw new Wrong('unusable store', `a life hung: ${said}`)
  if (child.signalCode === 'SIGKILL' || (blow.is === 'none' && child.exitCode === 0)) return said
  const kind = /Wrong: (wrong bytes|lost pieces):/.exec(complained)?.[1] as WrongKind | undefined
  throw new Wrong(kind ?? 'fault of a life', complained.trim().split('\n').slice(0, 12).join(' | '))
}

/** The points that lives to the end pass. Several, because each does other things. */
async function passedBy(life: 'store' | 'peer', origin: string): Promise<Passed> {
  const passed = new Map<string, number>()
  const blow: Blow = { is: 'none' }
  await Promise.all(
    Array.from({ length: life === 'store' ? 8 : 2 }, async (_, seed) => {
      const root = newRoot(life)
      try {
        const said = await live({ life, root, seed, blow, origin, believing: true })
        const counts = JSON.parse(said.split('\n')[1] ?? '') as [string, number][]
        for (const [point, count] of counts) {
          passed.set(point, Math.max(count, passed.get(point) ?? 0))
        }
      } finally {
        rmSync(root, { recursive: true, force: true, maxRetries: 3 })
      }
    }),
  )
  // In an order that does not depend on chance.
  return new Map([...passed].toSorted(([left], [right]) => (left < right ? -1 : 1)))
}

function newRoot(life: 'store' | 'peer'): string {
  const root = mkdtempSync(join(tmpdir(), 'dragonfly-peer-crash-'))
  mkdirSync(join(root, 'out'))
  mkdirSync(join(root, 'in'))
  if (life === 'peer') writeFileSync(join(root, 'in', 'seeded'), peerContent('seeded').bytes())
  for (const { name, content } of life === 'store' ? storeItems : []) {
    if (adoptable.includes(name)) writeFileSync(join(root, 'in', name), content.bytes())
  }
  return root
}

/** Serves the contents of the lives of peers by name, whole or from a place on. */
async function startOrigin(): Promise<Server> {
  const contents = new Map(peerItems.map((name) => [name, peerContent(name).bytes()]))
  const server = createServer((request, response) => {
    const bytes = contents.get((request.url ?? '').slice(1) as PeerItem)
    if (bytes === undefined) {
      response.writeHead(404).end()
      return
    }
    const range = /^bytes=([0-9]+)-([0-9]*)$/.exec(request.headers.range ?? '')
    const start = Number(range?.[1] ?? 0)
    const end = range?.[2] ? Math.min(Number(range[2]) + 1, bytes.length) : bytes.length
    const part = bytes.subarray(start, end)
    response.writeHead(range === null ? 200 : 206, {
      'accept-ranges': 'bytes',
      'content-length': part.length,
      etag: `"${bytes.length}"`,
      ...(range === null ? {} : { 'content-range': `bytes ${start}-${end - 1}/${bytes.length}` }),
    })
    response.end(request.method === 'HEAD' ? undefined : part)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

/** Whatever a store does is done in this time. */
async function within<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Wrong('unusable store', 'it hangs')), lifeMsMax)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
