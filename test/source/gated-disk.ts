/**
 * A process whose file hangs until its standard input ends (`native/test/gate`). A piece is read from an HTTP origin into it, with an idle time-out that is much shorter than that.
 * Prints a line when that time is over, and at the end how often the origin was asked, and the digest.
 */
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { DiskSlot } from '../../src/storage/disk-slot.ts'
import { OpenFile, writeFlags } from '../../src/storage/open-file.ts'
import { pieceSums } from '../../src/storage/piece-sum.ts'
import { SlabPool } from '../../src/storage/slabs.ts'
import { http } from '../../src/source/http.ts'
import { Sources } from '../../src/source/sources.ts'
import { readPiece } from '../../src/task/origin-read.ts'
import { Content } from '../support/content.ts'
import { never } from '../storage/filling.ts'

const [path = ''] = process.argv.slice(2)
const idleTimeoutMs = 50
const content = new Content(1024 * 1024)
const piece = { number: 0, offset: 0, length: content.length }

let asked = 0
const server = createServer((_, response) => {
  asked++
  const fields = {
    'content-length': content.length,
    'content-range': `bytes 0-${content.length - 1}/${content.length}`,
  }
  response.writeHead(206, fields).end(content.bytes())
  // From here on the origin owes nothing.
  response.once('finish', () => setTimeout(() => process.stdout.write('late\n'), 6 * idleTimeoutMs))
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))

writeFileSync(path, '')
const file = await OpenFile.open(path, writeFlags)
const pool = new SlabPool({ count: 1, slabBytes: 512 * 1024 })
const slot = new DiskSlot({}, piece, {
  sum: pieceSums(true)(),
  pool,
  slab: await pool.take(never),
  lease: { file, release: () => undefined },
  onEnd: () => undefined,
})
const sources = new Sources([http({ idleTimeoutMs })])
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
const access = {
  origin: sources.bind({ url, headers: {} }),
  shownUrl: '',
  validator: undefined,
}
await readPiece(access, piece, slot, never)
process.stdout.write(`${asked} ${await slot.finish()}\n`, () => process.exit())
