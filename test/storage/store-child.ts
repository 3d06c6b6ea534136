import { closeSync, openSync } from 'node:fs'
import { PeerError } from '../../src/errors.ts'
import { DiskStore } from '../../src/storage/disk-store.ts'
import type { KeptTask } from '../../src/storage/store.ts'
import { geometry } from '../../src/task/piece.ts'
import { Content } from '../support/content.ts'
import { keepAll, record, verifyTask } from './filling.ts'

/**
 * Another process with a disk store. `node store-child.js <work> <dir>`; says one line for each step and leaves by itself when its work is done, with the code
 * of the error in a line if there was one.
 *
 * `open`: opens the store, and does not close it. `hold`: stays, too. `fill`: keeps pieces until it is killed. `nobody`: gives up its rights first.
 * `starve`: takes all descriptors and works without, then with them. `rest`: reads more tasks than it may have descriptors.
 */
const [, , work, dir] = process.argv
if (dir === undefined) throw new TypeError('Usage: store-child.js <work> <dir>')

try {
  // The modules are loaded with the rights of the parent, before these are given up.
  if (work === 'nobody') {
    process.setgroups?.([])
    process.setgid?.(65534)
    process.setuid?.(65534)
  }
  const store = await DiskStore.open({ dir })
  say('open')
  if (work === 'hold') setInterval(() => undefined, 1000)
  if (work === 'fill') {
    for (let round = 0; ; round++) {
      const content = new Content(5_000_000, round)
      const task = await store.create(record(`round ${round}`), geometry(content.length, 100_000))
      await keepAll(task, content)
      say(`round ${round}`)
    }
  }
  if (work === 'starve') await starve(store)
  if (work === 'rest') {
    for (const task of store.list()) await readAll(store, task)
    say('read all: right')
  }
} catch (error) {
  say(`error ${String((error as { readonly code?: unknown }).code ?? error)}`)
}

async function starve(store: DiskStore): Promise<void> {
  const task = store.get(record().id)
  if (task === undefined) throw new Error('There is nothing to read')
  const taken: number[] = []
  try {
    for (;;) taken.push(openSync(process.execPath, 'r'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EMFILE') throw error
  }
  await failing('create', () => store.create(record('new'), geometry(10)))
  await failing('spool', () => store.spool())
  await failing('read', () => readAll(store, task))
  for (const descriptor of taken) closeSync(descriptor)
  await readAll(store, task)
  const content = new Content(10)
  const made = await store.create(record('new'), geometry(10))
  await keepAll(made, content)
  await verifyTask(store, made, content)
  await store.close()
  say('again: right')
}

async function failing(what: string, act: () => Promise<unknown>): Promise<void> {
  const failure = await act().then(
    () => 'nothing',
    (error: unknown) => {
      if (!PeerError.is(error)) throw error
      return `${error.code} ${String((error.details as { errno?: unknown }).errno)}`
    },
  )
  say(`${what}: ${failure}`)
}

/** What `prepared()` keeps has the same content in every task. */
async function readAll(store: DiskStore, task: KeptTask): Promise<void> {
  await verifyTask(store, task, new Content(task.geometry.contentLength))
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
