import assert from 'node:assert/strict'
import { tcp } from '../../../src/transport/tcp/tcp.ts'
import { addressOf, hostOf, never } from '../pair.ts'
import { contentOf, PieceShelf, taskId } from '../piece-shelf.ts'
import { PieceSlot } from '../piece-slot.ts'

/**
 * Run by `exit.test.ts` in a process of its own, which must end by itself: `child <port>` reads pieces from a parent elsewhere and closes nothing;
 * `pair` serves and reads, and closes both.
 */
const [role, port] = process.argv.slice(2)
const length = 300_000
const shelf = new PieceShelf(contentOf(length), length)
const asked = { taskId, kind: 'standard', piece: { number: 0, offset: 0, length } } as const
const child = tcp()(hostOf(shelf))

if (role === 'child') {
  const from = addressOf({ ip: '127.0.0.1', port: Number(port) })
  await Promise.all([1, 2, 3].map(() => child.read(from, asked, new PieceSlot(asked.piece), never)))
} else {
  const parent = tcp()(hostOf(shelf))
  const at = await parent.listen()
  assert.ok(at !== undefined)
  await child.read(addressOf(at), asked, new PieceSlot(asked.piece), never)
  await Promise.all([parent.close(), child.close()])
  await new Promise((resolve) => setImmediate(resolve))
  const left = process.getActiveResourcesInfo().filter((name) => /TCP|Timeout/.test(name))
  assert.deepEqual(left, [])
}
process.stdout.write('done')
