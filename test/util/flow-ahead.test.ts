/** What a transfer writes ahead of what comes, and what it tells while it runs. */
import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { crc32 } from '../../src/hash/crc32.ts'
import { loadFlow } from '../../src/util/flow.ts'
import { move } from '../../src/util/flow-move.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { fdOf, socketPair } from '../support/socket-pair.ts'
import { tempFolder } from '../support/temp-folder.ts'

const MiB = 1024 * 1024
const never = new AbortController().signal
const flow = loadFlow()

if (flow !== undefined) {
  test('NativeFlow.receive() writes what came before together with what comes behind it', async (t) => {
    const bytes = new Content(MiB).bytes(0, MiB)
    for (const [position, length] of [
      [0, 1],
      [200_000, MiB / 4],
      [123, 4000],
      [MiB / 4 - 1, 2],
      [7, MiB / 4],
    ] as const) {
      const { left, right } = await socketPair(t)
      const path = join(tempFolder(t), 'to')
      const file = openSync(path, 'w')
      cleanup(t, async () => closeSync(file))
      const sums = flow.sums(false)
      const ahead = Uint8Array.from(bytes.subarray(0, length))
      flow.add(sums, ahead)
      left.end(bytes.subarray(length))
      let count = 0
      while (count < MiB) {
        const [at, first] = [position + count, count === 0 ? ahead : undefined]
        const moved = await move(
          (done) => flow.receive(fdOf(right), file, at, MiB - count, done, sums, first),
          (id) => flow.cancel(id),
          never,
        )
        ahead.fill(0)
        assert.ok(moved.count > 0)
        count += moved.count
      }
      assert.ok(readFileSync(path).subarray(position).equals(bytes))
      assert.equal(flow.crc(sums), crc32(bytes))
    }
  })

  test('NativeFlow.receive() writes what came before also when nothing follows', async (t) => {
    const { left, right } = await socketPair(t)
    const path = join(tempFolder(t), 'to')
    const file = openSync(path, 'w')
    cleanup(t, async () => closeSync(file))
    left.end()
    const moved = await move(
      (done) => flow.receive(fdOf(right), file, 1, 9, done, flow.sums(false), Buffer.from('ahead')),
      (id) => flow.cancel(id),
      never,
    )
    assert.equal(moved.count, 5)
    assert.equal(readFileSync(path, 'latin1'), '\0ahead')
  })

  test('NativeFlow.silence() tells for how long the socket of a transfer has had nothing', async (t) => {
    const { left, right } = await socketPair(t)
    const path = join(tempFolder(t), 'to')
    const file = openSync(path, 'w')
    cleanup(t, async () => closeSync(file))
    const begun = performance.now()
    let id = 0
    const moving = move(
      (done) => (id = flow.receive(fdOf(right), file, 0, 2, done, flow.sums(false))),
      (number) => flow.cancel(number),
      never,
    )
    while (flow.silence(id) < 20) await setImmediate()
    assert.ok(performance.now() - begun >= 20)
    left.write('1')
    while (flow.silence(id) >= 20) await setImmediate()
    left.write('2')
    await moving
    assert.equal(flow.silence(id), 0)
    assert.equal(flow.silence(id + 1), 0)
  })
}
