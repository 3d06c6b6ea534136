import fs from 'node:fs'
import fsp from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { relative } from 'node:path'

/** One call of the file system. */
export interface FsCall {
  /** Function and kind of file, such as `write journal`. */
  readonly name: string
  /** It can change what is on the disk. */
  readonly changes: boolean
  /** The bytes of a `write`. */
  readonly bytes?: Uint8Array
  /** Writes other bytes in their place, at once. */
  readonly put?: (bytes: Uint8Array) => void
}

/** What becomes of a call: undefined, it goes on; `skip`, it says that it was done and was not; an error, it fails with that. */
export type FsVerdict = 'skip' | NodeJS.ErrnoException | undefined

/** Who is told of calls. */
export interface FsWatcher {
  before(call: FsCall): FsVerdict
  after?(call: FsCall): void
}

type Anything = (...values: unknown[]) => unknown
type Done = (error: Error | null, ...values: unknown[]) => void
type Table = Record<string, Anything>

/** Functions of `node:fs` that take a descriptor first and a callback last. */
const onDescriptor = ['read', 'write', 'ftruncate', 'fsync', 'fchmod', 'futimes', 'close']
/** Functions of `node:fs/promises` that take a path first; those of two paths are named for the second. */
const onPath = ['mkdir', 'readdir', 'rm', 'rmdir', 'stat', 'lstat', 'statfs', 'readlink', 'unlink']
const onTwoPaths = ['rename', 'link', 'symlink', 'copyFile']
const onHandle = ['write', 'chmod']
const harmless = ['read', 'close', 'readdir', 'stat', 'lstat', 'statfs', 'readlink']

/**
 * Puts a watcher between this process and its file system: all of the calls that the store makes on files below `root`, whichever module makes them. So every
 * call is a point at which a process can be killed or a disk can fail, without a line for it in what ships, and a new call is one more such point by itself.
 *
 * @returns takes the watcher away
 */
export function watchFs(root: string, watcher: FsWatcher): () => void {
  const callbacks = fs as unknown as Table
  const promises = fsp as unknown as Table
  const before: [Table, string, Anything][] = []
  /** Of open descriptors; a file that is renamed goes on under its new name. */
  const paths = new Map<number, string>()
  const writeSync = fs.writeSync.bind(fs)

  const replace = (table: Table, name: string, make: (plain: Anything) => Anything): void => {
    const plain = table[name]
    if (plain === undefined) throw new TypeError(`There is no fs.${name}()`)
    before.push([table, name, plain])
    table[name] = make(plain.bind(table))
  }
  const kindAt = (path: unknown): string | undefined =>
    typeof path === 'string' ? kindOf(relative(root, path)) : undefined
  const renamed = (from: string, to: string): void => {
    for (const [fd, path] of paths) if (path === from) paths.set(fd, to)
  }
  const promised = async (call: FsCall, work: () => unknown): Promise<unknown> => {
    const verdict = watcher.before(call)
    if (verdict === 'skip') return undefined
    if (verdict !== undefined) throw verdict
    const result = await work()
    watcher.after?.(call)
    return result
  }

  replace(callbacks, 'open', (plain) => (...values) => {
    const [path, flags] = values
    const done = values.at(-1) as Done
    const kind = kindAt(path)
    if (kind === undefined) return plain(...values)
    const call = { name: `open ${kind}`, changes: isCreating(flags) }
    const verdict = watcher.before(call)
    if (verdict instanceof Error) return process.nextTick(done, verdict)
    return plain(...values.slice(0, -1), (error: Error | null, fd: number) => {
      if (error === null) paths.set(fd, path as string)
      if (error === null) watcher.after?.(call)
      done(error, fd)
    })
  })
  for (const name of onDescriptor) {
    replace(callbacks, name, (plain) => (...values) => {
      const [fd, bytes, offset, length, position] = values as [number, Uint8Array, ...number[]]
      const done = values.at(-1) as Done
      const kind = kindAt(paths.get(fd))
      if (kind === undefined) return plain(...values)
      if (name === 'close') paths.delete(fd)
      const at = offset ?? 0
      const call = {
        name: `${name} ${kind}`,
        changes: !harmless.includes(name),
        ...(name !== 'write'
          ? {}
          : {
              bytes: bytes.subarray(at, at + (length ?? 0)),
              put: (other: Uint8Array) => void writeSync(fd, other, 0, other.length, position),
            }),
      }
      const verdict = watcher.before(call)
      if (verdict instanceof Error && name === 'close') return plain(fd, () => done(verdict))
      if (verdict instanceof Error) return process.nextTick(done, verdict)
      if (verdict === 'skip') return process.nextTick(done, null, length)
      return plain(...values.slice(0, -1), (error: Error | null, ...more: unknown[]) => {
        if (error === null) watcher.after?.(call)
        done(error, ...more)
      })
    })
  }
  for (const name of [...onPath, ...onTwoPaths]) {
    replace(promises, name, (plain) => (...values) => {
      const kind = kindAt(onTwoPaths.includes(name) ? values[1] : values[0])
      if (kind === undefined) return plain(...values)
      const call = { name: `${name} ${kind}`, changes: !harmless.includes(name) }
      return promised(call, async () => {
        const result = await plain(...values)
        if (name === 'rename') renamed(values[0] as string, values[1] as string)
        return result
      })
    })
  }
  replace(promises, 'open', (plain) => async (...values) => {
    const kind = kindAt(values[0])
    if (kind === undefined) return plain(...values)
    const call = { name: `open ${kind}`, changes: isCreating(values[1]) }
    const handle = (await promised(call, () => plain(...values))) as Table
    for (const name of onHandle) {
      const work = handle[name]?.bind(handle)
      if (work === undefined) continue
      handle[name] = (...more) => {
        const bytes = name === 'write' ? { bytes: more[0] as Uint8Array } : {}
        return promised({ name: `${name} ${kind}`, changes: true, ...bytes }, () => work(...more))
      }
    }
    return handle
  })
  syncBuiltinESMExports()
  return () => {
    for (const [table, name, plain] of before) table[name] = plain
    syncBuiltinESMExports()
  }
}

/** An error as the system makes it. */
export function systemError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: a fault of the test`), { code, errno: -1, syscall: 'x' })
}

function isCreating(flags: unknown): boolean {
  if (typeof flags === 'number') return (flags & fs.constants.O_CREAT) !== 0
  return typeof flags === 'string' && /[wax]/.test(flags)
}

const patterns: readonly (readonly [RegExp, string])[] = [
  [/^store\/journal$/, 'journal'],
  [/^store\/journal\.new$/, 'journal.new'],
  [/^store\/lock(\/|$)/, 'lock'],
  [/^store\/outputs(\/|$)/, 'note'],
  [/^store\/content\/\.new-/, 'spool'],
  [/^store\/content\/[^/]+\//, 'content'],
  [/^store\/content(\/|$)/, 'folder'],
  [/^store$/, 'folder'],
  [/^out\/\.dragonfly-/, 'temporary'],
  [/^out\//, 'output'],
  [/^in\//, 'input'],
]

/** What a file below the folder of a trial is. */
function kindOf(path: string): string | undefined {
  return patterns.find(([pattern]) => pattern.test(path))?.[1]
}
