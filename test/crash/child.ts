/** A process that works with a store or a peer until it is killed. `node child.js <order as JSON>`. */
import { type Blow, Striker } from './blow.ts'
import { Random } from './random.ts'
import { watchFs } from './watched-fs.ts'

/** What a child is told. */
export interface Order {
  readonly life: 'store' | 'peer'
  readonly root: string
  readonly seed: number
  readonly blow: Blow
  /** Where the origin of a peer is. */
  readonly origin: string
  /** What an earlier life kept must be good, and what comes out too. */
  readonly believing: boolean
}

async function live(order: Order): Promise<void> {
  const { root, blow } = order
  const kill = (): void => {
    process.kill(process.pid, 'SIGKILL')
    // The signal arrives before anything else of this process can happen, but the compiler and the next line cannot know.
    for (;;);
  }
  const striker = new Striker(blow, kill)
  watchFs(root, striker)
  const life = await lifeOf(order, new Random(order.seed))
  await life.run(() => process.stdout.write('open\n'))
  if (blow.is === 'none') {
    process.stdout.write(`${JSON.stringify([...striker.passed])}\n`)
    return
  }
  // It came to the end before the blow: nothing of it may be put in order either.
  kill()
}

/** Loaded when it is known which: the modules of a peer take half a second of the processor. */
async function lifeOf(
  order: Order,
  random: Random,
): Promise<{ run(onOpen: () => void): Promise<void> }> {
  const { life, root, origin, believing } = order
  if (life === 'peer') {
    const { PeerLife } = await import('./peer-life.ts')
    return new PeerLife(root, random, { origin, believing })
  }
  const { StoreLife } = await import('./store-life.ts')
  return new StoreLife(root, random, believing)
}

await live(JSON.parse(process.argv[2] ?? '') as Order)
