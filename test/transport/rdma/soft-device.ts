import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { softverbs } from '../../support/native-build.ts'

/** A verbs library without a card, for `rdma({ library })` of this process and those that it starts. Call it before the library is opened: it reads the environment then. */
export function softLibrary(): string {
  if (process.env['SOFTVERBS_CONTROL'] === undefined) {
    const folder = mkdtempSync(join(tmpdir(), 'dragonfly-peer-soft-'))
    process.env['SOFTVERBS_CONTROL'] = folder
    process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  }
  return softverbs()
}

/** Gives the library of a process an order: `hold 2`, `go`, `port down` and others (`native/test/softverbs/control.c`). */
export async function order(line: string, processId: number = process.pid): Promise<void> {
  const path = join(process.env['SOFTVERBS_CONTROL'] ?? '', `${processId}.sock`)
  const socket = connect(path)
  try {
    socket.write(`${line}\n`)
    for await (const answer of createInterface({ input: socket })) {
      assert.equal(answer, 'ok', line)
      return
    }
    throw new Error(`No answer to ${line}`)
  } finally {
    socket.destroy()
  }
}
