import { randomBytes } from 'node:crypto'
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { PeerError } from '../errors.ts'
import { errnoOf, withErrno } from './errno.ts'

/** Longest path of a socket that every system takes. */
const socketPathMax = 100
/** How long a holder may take to answer. One that accepts a connection is alive, whatever it answers. */
const answerMs = 1000
/** How long two that start at the same time may take to find out who was first. */
const decisionMs = 5000
/** A socket that was made but not announced for so long belongs to a process that died in between. */
const strayMs = 60_000

/**
 * One process at a time on a store folder.
 *
 * Node has no `flock()`, and a file with a process id in it outlives its process, and is believed when the number is given out again. So a lock is a
 * listening unix socket in the folder: the kernel stops listening when the process dies, however it dies, and a connection that is refused is proof. A socket
 * with a path is found by its inode, so this also works for containers that share a folder but neither process ids nor a network; an abstract socket would not be
 * seen there. It does not work across machines that share a network file system.
 *
 * A dead socket cannot be taken over: between looking at a name and replacing it, another process may have done so. So no name is ever used twice.
 * Each contender listens under a new name first, and looks at all others then. Of two contenders at least one therefore sees the other; one that holds the folder wins,
 * else the one whose name sorts first. A socket gets its final name when it listens already, so a refused connection always means death.
 */
export class StoreLock {
  readonly #server: Server
  readonly #path: string

  private constructor(server: Server, path: string) {
    this.#server = server
    this.#path = path
  }

  /** @throws PeerError STORE_LOCKED, PERMISSION_DENIED, STORE_FAILED */
  static async take(folder: string): Promise<StoreLock> {
    return await withErrno({ path: folder, operation: 'lock' }, StoreLock.#take(folder))
  }

  static async #take(folder: string): Promise<StoreLock> {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    // The first part decides who was first, the process id is for the error message alone.
    const name = `${randomBytes(8).toString('hex')}-${process.pid}.lock`
    let standing: Standing = 'contends'
    const server = createServer((socket) => {
      socket.on('error', () => socket.destroy())
      socket.end(standing)
    })
    const lock = new StoreLock(server, await announce(server, folder, name))
    try {
      await decide(folder, name)
    } catch (error) {
      await lock.release()
      throw error
    }
    standing = 'holds'
    return lock
  }

  /** Lets another process have the folder. Safe to call twice. */
  async release(): Promise<void> {
    // A name that cannot be removed does no harm: nobody listens behind it any more, and the next one who comes removes it.
    await rm(this.#path, { force: true }).catch(() => undefined)
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }
}

type Standing = 'contends' | 'holds'
/** `unsure`: it went away while it was asked, dying or giving way. The next look shows it. */
type Answer = Standing | 'dead' | 'unsure'

/** Listens, and shows the name only then. */
async function announce(server: Server, folder: string, name: string): Promise<string> {
  const path = join(folder, name)
  const early = `${path}.new`
  await withShortPath(folder, `${name}.new`, async (short) => {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      // `exclusive`: in a worker of a cluster the socket would be the primary's otherwise, and live as long as that.
      server.listen({ path: short, exclusive: true }, resolve)
    })
  })
  server.unref()
  try {
    await rename(early, path)
  } catch (error) {
    server.close()
    throw error
  }
  return path
}

async function decide(folder: string, own: string): Promise<void> {
  const deadline = performance.now() + decisionMs
  for (;;) {
    const rivals = await livingRivals(folder, own)
    if (rivals.length === 0) return
    const winner = rivals.find(
      ({ name, standing }) => standing === 'holds' || (standing === 'contends' && name < own),
    )
    if (winner !== undefined || performance.now() > deadline) {
      throw locked(folder, (winner ?? rivals[0])?.name ?? '')
    }
    // The others contend and will give way when they see this one: looking again takes a few turns of both.
    await new Promise<void>((resolve) => setTimeout(resolve, 5))
  }
}

interface Rival {
  readonly name: string
  readonly standing: Exclude<Answer, 'dead'>
}

async function livingRivals(folder: string, own: string): Promise<Rival[]> {
  const rivals: Rival[] = []
  for (const name of await readdir(folder)) {
    if (name.endsWith('.new')) await removeStray(join(folder, name))
    if (name === own || !name.endsWith('.lock')) continue
    const standing = await ask(folder, name)
    if (standing === 'dead') await rm(join(folder, name), { force: true })
    else rivals.push({ name, standing })
  }
  return rivals
}

async function removeStray(path: string): Promise<void> {
  try {
    const { mtimeMs } = await stat(path)
    if (Date.now() - mtimeMs > strayMs) await rm(path, { force: true })
  } catch (error) {
    // It was announced meanwhile.
    if (errnoOf(error) !== 'ENOENT') throw error
  }
}

async function ask(folder: string, name: string): Promise<Answer> {
  return await withShortPath(folder, name, (path) => {
    return new Promise<Answer>((resolve, reject) => {
      const socket = connect(path)
      let answer = ''
      socket.setTimeout(answerMs, () => {
        socket.destroy()
        resolve('holds')
      })
      socket.on('data', (part: Buffer) => {
        answer += part.toString('latin1', 0, 16)
      })
      socket.on('close', () => {
        resolve(answer === 'contends' || answer === 'holds' ? answer : 'unsure')
      })
      socket.on('error', (error) => {
        const errno = errnoOf(error) ?? ''
        if (['ECONNREFUSED', 'ENOENT'].includes(errno)) resolve('dead')
        else if (['ECONNRESET', 'EPIPE'].includes(errno)) resolve('unsure')
        // The queue of the listener is full: somebody listens.
        else if (errno === 'EAGAIN') resolve('holds')
        else reject(error)
      })
    })
  })
}

/** The path of a socket is short by law; through a descriptor of the folder any folder can be reached where `/proc` is there. */
async function withShortPath<T>(
  folder: string,
  name: string,
  use: (path: string) => Promise<T>,
): Promise<T> {
  const path = join(folder, name)
  if (Buffer.byteLength(path) <= socketPathMax || process.platform !== 'linux') {
    return await use(path)
  }
  const opened = await open(folder, 'r')
  try {
    return await use(`/proc/self/fd/${opened.fd}/${name}`)
  } finally {
    await opened.close()
  }
}

function locked(folder: string, name: string): PeerError<'STORE_LOCKED'> {
  const pid = Number(/-([0-9]{1,10})\.lock$/.exec(name)?.[1])
  return new PeerError('STORE_LOCKED', `Another process works with ${folder}`, {
    path: folder,
    ...(Number.isInteger(pid) && pid > 0 ? { pid } : {}),
  })
}
