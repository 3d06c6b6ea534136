import { DiskStore } from '../../src/storage/disk-store.ts'
import { geometry } from '../../src/task/piece.ts'
import { Content } from '../support/content.ts'
import { keepAll, record } from './filling.ts'

/**
 * Another process with a disk store. `node store-child.js <work> <dir>`; says one line for each step and leaves by itself when its work is done, with the code
 * of the error in a line if there was one.
 *
 * `open`: opens the store, and does not close it. `hold`: stays, too. `fill`: keeps pieces until it is killed. `nobody`: gives up its rights first.
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
} catch (error) {
  say(`error ${String((error as { readonly code?: unknown }).code ?? error)}`)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
