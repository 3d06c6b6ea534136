/** The RDMA transport against the TCP transport, each between two processes, with the stand-in for a verbs library: it shows what the code around the verbs costs. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Origin } from '../test/support/origin.ts'
import { softLibrary } from '../test/transport/rdma/soft-device.ts'
import type { Benchmark, Row, Settings } from './benchmark.ts'
import type { Answer, Order } from './rdma-peer.ts'

const mebibyte = 1024 * 1024
/** Least rounds for a median. */
const roundsFull = 7

/** One round of one transport. */
interface Sample {
  readonly mibPerSecond: number
  readonly cpuPerGib: number
}

/** RDMA without a card, against TCP. */
export const rdmaSoftware: Benchmark = {
  name: 'rdma',
  about: 'content in memory to memory over RDMA with a stand-in for the verbs library, over TCP',
  run: async (settings) => [
    ...(await compared(settings, true, 'memory to ready memory over RDMA in software')),
    ...(await compared(settings, false, 'memory to fresh memory over RDMA in software')),
  ],
}

async function compared(settings: Settings, ready: boolean, name: string): Promise<Row[]> {
  const bytes = (settings.quick ? 64 : 512) * mebibyte
  const rounds = settings.quick ? 1 : roundsFull
  const library = softLibrary()
  const origin = new Origin({ length: bytes })
  const children: ChildProcess[] = []
  try {
    await origin.listen()
    const ours = await Side.start(children, origin.url, bytes, library)
    const tcp = await Side.start(children, origin.url, bytes)
    const samples = { ours: [] as Sample[], tcp: [] as Sample[] }
    for (let round = 0; round < rounds; round++) {
      settings.say(`${name}: ${round + 1} of ${rounds}`)
      samples.ours.push(await ours.round(ready))
      samples.tcp.push(await tcp.round(ready))
    }
    const isGoal = ready && !settings.quick
    return [
      row(name, 'MiB/s', samples, ({ mibPerSecond }) => mibPerSecond, isGoal),
      row(`${name}: processor`, 'CPU s/GiB', samples, ({ cpuPerGib }) => cpuPerGib, false),
    ]
  } finally {
    for (const child of children) child.kill('SIGKILL')
    await origin.close()
  }
}

/** A parent with the content in memory, and a process for children. */
class Side {
  readonly #parent: ChildProcess
  readonly #child: ChildProcess
  readonly #url: string
  readonly #bytes: number
  readonly #start: Order
  readonly #transport: string

  private constructor(
    processes: readonly [ChildProcess, ChildProcess],
    url: string,
    bytes: number,
    start: Order & { is: 'start' },
  ) {
    ;[this.#parent, this.#child] = processes
    this.#url = url
    this.#bytes = bytes
    this.#start = start
    this.#transport = start.library === undefined ? 'tcp' : 'rdma'
  }

  static async start(
    children: ChildProcess[],
    url: string,
    bytes: number,
    library?: string,
  ): Promise<Side> {
    const script = fileURLToPath(new URL('./rdma-peer.js', import.meta.url))
    const [parent, child] = [fork(script), fork(script)]
    children.push(parent, child)
    const kind = library === undefined ? {} : { library }
    const { scheduler } = await ask(parent, { is: 'start', ...kind })
    // In memory of `allocate()`: what is registered is read in place.
    await ask(parent, { is: 'download', url, bytes, ready: true, backToSource: 'allow' })
    return new Side([parent, child], url, bytes, { is: 'start', scheduler, ...kind })
  }

  /** Downloads with a new peer. */
  async round(ready: boolean): Promise<Sample> {
    const { pieces: had } = await ask(this.#child, this.#start)
    const begun = had[this.#transport] ?? 0
    const order = { url: this.#url, bytes: this.#bytes, ready, backToSource: 'never' } as const
    const { cpuSeconds: before } = await ask(this.#parent, { is: 'measure' })
    const { seconds, cpuSeconds, pieces } = await ask(this.#child, { is: 'download', ...order })
    const came = (pieces[this.#transport] ?? 0) - begun
    const all = Math.ceil(this.#bytes / (4 * mebibyte))
    if (came !== all) throw new Error(`${came} of ${all} pieces came over ${this.#transport}`)
    await ask(this.#child, { is: 'close' })
    const { cpuSeconds: after } = await ask(this.#parent, { is: 'measure' })
    const cpuPerGib = ((cpuSeconds + after - before) / this.#bytes) * 1024 * mebibyte
    return { mibPerSecond: this.#bytes / mebibyte / seconds, cpuPerGib }
  }
}

function row(
  name: string,
  unit: string,
  { ours, tcp }: { readonly ours: readonly Sample[]; readonly tcp: readonly Sample[] },
  figure: (sample: Sample) => number,
  isGoal: boolean,
): Row {
  const [own, other] = [ours, tcp].map((samples) => samples.map(figure).toSorted((a, b) => a - b))
  const middle = (values: readonly number[] = []): number => values[values.length >> 1] ?? 0
  const ratio = middle(own) / middle(other)
  return {
    name,
    value: middle(own),
    unit,
    reference: 'the TCP transport',
    referenceValue: middle(other),
    ratio,
    goal: isGoal ? 'ratio ≥ 1' : '',
    holds: isGoal ? ratio >= 1 : undefined,
    range: [own?.[0] ?? 0, own?.at(-1) ?? 0],
    referenceRange: [other?.[0] ?? 0, other?.at(-1) ?? 0],
    note: 'not the speed of a card: what the stand-in reads goes over TCP too',
  }
}

async function ask(child: ChildProcess, order: Order): Promise<Answer> {
  const gone = new AbortController()
  const ended = once(child, 'exit', { signal: gone.signal }).then((how) => {
    throw new Error(`A peer ended: ${how.join(' ')}`)
  })
  const answered = once(child, 'message', { signal: gone.signal })
  // Only the one that comes first counts.
  for (const each of [ended, answered]) each.catch(() => undefined)
  child.send(order)
  try {
    const [answer] = await Promise.race([answered, ended])
    return answer as Answer
  } finally {
    gone.abort()
  }
}
