import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import test from 'node:test'
import { merged } from '../interop/support/config-file.ts'
import { eventually } from '../interop/support/eventually.ts'
import { freePorts } from '../interop/support/free-ports.ts'
import { whyNot } from '../interop/support/binaries.ts'
import { CaseFacts } from '../interop/support/matrix.ts'
import { Program } from '../interop/support/program.ts'
import { resultsTable } from '../interop/support/results.ts'
import { cleanup, type Ending } from './cleanup.ts'
import { leaks } from './leaks.ts'
import { tempFolder } from './temp-folder.ts'

/** Starts a script of Node as a program. */
function start(t: Ending, script: string): Program {
  const folder = tempFolder(t)
  return Program.start(t, { name: 'script', path: process.execPath, args: ['-e', script], folder })
}

const stays = 'setInterval(() => undefined, 1e6); console.log("ready")'

/** Whether it runs. A process that ended stays in the table until its parent looks, and the parent may be the first process of a container, which never does. */
function runs(pid: number): boolean {
  try {
    if (process.platform !== 'linux') return process.kill(pid, 0)
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH') return false
    throw error
  }
}

test('Program keeps what a program prints and says how it ended', async (t) => {
  leaks(t)
  const program = start(t, 'console.log("one"); console.error("two"); process.exitCode = 3')
  await program.untilOutput(/two/)
  assert.deepEqual(await program.ended(), { code: 3, signal: null })
  assert.match(program.output, /one/)
  assert.equal(program.log(), program.output)
})

test('Program.until() fails with the output when the program ends first, and when the time is over', async (t) => {
  leaks(t)
  const short = start(t, 'console.log("no such option"); process.exitCode = 1')
  await assert.rejects(short.untilOutput(/ready/), /no such option/)
  const long = start(t, stays)
  await assert.rejects(long.untilOutput(/never/, { timeoutMs: 100 }), /output \/never\//)
  assert.equal(long.end, undefined)
})

test('Program.stop() ends it in good order, Program.kill() at once, also while it is paused', async (t) => {
  leaks(t)
  const good = start(t, `${stays}; process.on("SIGTERM", () => process.exit(7))`)
  await good.untilOutput(/ready/)
  assert.deepEqual(await good.stop(), { code: 7, signal: null })
  assert.deepEqual(await good.stop(), { code: 7, signal: null })
  const other = start(t, stays)
  await other.untilOutput(/ready/)
  other.pause()
  assert.deepEqual(await other.kill(), { code: null, signal: 'SIGKILL' })
})

test('Program dies with the process that started it, also when that is killed', async (t) => {
  leaks(t)
  const folder = tempFolder(t)
  const module = new URL('../interop/support/program.js', import.meta.url).href
  const script = `
    const { Program } = await import(${JSON.stringify(module)})
    const program = Program.spawn({ name: 'x', path: process.execPath, args: ['-e', ${JSON.stringify(stays)}], folder: ${JSON.stringify(folder)} })
    await program.untilOutput(/ready/)
    console.log(program.pid)`
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  cleanup(t, () => void parent.kill('SIGKILL'))
  const [text] = (await once(parent.stdout, 'data')) as [Buffer]
  const pid = Number(text.toString())
  assert.equal(runs(pid), true)
  parent.kill('SIGKILL')
  await eventually('the program is gone', () => !runs(pid))
})

test('freePorts() gives different ports that hosts may announce', async (t) => {
  leaks(t)
  const ports = await freePorts(20)
  assert.equal(new Set(ports).size, 20)
  assert.ok(ports.every((port) => port >= 1024 && port <= 65_534))
})

test('merged() joins configurations at every depth', () => {
  const base = { a: { b: 1, c: [1, 2] }, d: 'x' }
  assert.deepEqual(merged(base, { a: { b: 2, e: true }, d: { f: 1 } }), {
    a: { b: 2, c: [1, 2], e: true },
    d: { f: 1 },
  })
  assert.deepEqual(base.a.b, 1)
})

test('whyNot() says what is missing', (t) => {
  assert.match(whyNot({}) ?? '', /DRAGONFLY_BIN does not name/)
  assert.match(whyNot({ DRAGONFLY_BIN: tempFolder(t) }) ?? '', /lacks scheduler, manager/)
})

test('resultsTable() has a line per case, in the order of the rows', () => {
  const facts = new CaseFacts()
  facts.traffic('ours', { source: 0, peers: 7, local: 0 })
  facts.note('twice')
  facts.took(1234)
  const later = facts.result(2, 'b', true, 5000)
  const earlier = new CaseFacts().result(1, 'a', false, 50)
  assert.deepEqual(resultsTable([later, earlier]).split('\n').slice(2), [
    '| 1 | a | failed | 0.05 s | - | - |  |',
    '| 2 | b | passed | 1.23 s | - | - | ours: peers 7; twice |',
  ])
})
