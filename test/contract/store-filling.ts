import assert from 'node:assert/strict'
import { test } from 'node:test'
import { geometry, pieceAt } from '../../src/task/piece.ts'
import { Content } from '../support/content.ts'
import {
  code,
  digestOf,
  fill,
  keep,
  keepAll,
  MiB,
  never,
  readPiece,
  record,
  verifyTask,
} from '../storage/filling.ts'
import { type Open, request, threePieces } from './store-scene.ts'

/** What slots promise. */
export function filling(name: string, open: Open): void {
  const cases: readonly (readonly [number, number | undefined])[] = [
    [0, undefined],
    [1, undefined],
    [4 * MiB - 1, undefined],
    [4 * MiB, undefined],
    [4 * MiB + 1, undefined],
    [3 * MiB + 5, 700_001],
  ]
  for (const [length, pieceLength] of cases) {
    test(`${name} keeps ${length} bytes in pieces of ${pieceLength ?? 'the rule'}`, async (t) => {
      const store = await open(t)
      const content = new Content(length, 7)
      const cut = geometry(length, pieceLength)
      const task = await store.create(record(), cut)
      const kept: (number | undefined)[] = []
      task.onKept((number) => kept.push(number))
      await keepAll(task, content)
      assert.equal(task.complete, true)
      assert.equal(task.keptCount, cut.pieceCount)
      assert.deepEqual(kept, [...kept.keys()])
      assert.equal(kept.length, cut.pieceCount)
      for (let number = 0; number < cut.pieceCount; number++) {
        assert.equal(task.digestOf(number), digestOf(content, pieceAt(cut, number)))
      }
      assert.equal(store.usage().bytes, length)
      await verifyTask(store, task, content)
    })
  }

  test(`${name}.slot() serves many pieces at once, each filled in parts`, async (t) => {
    const store = await open(t)
    const content = new Content(40 * 300_000, 3)
    const task = await store.create(record(), geometry(content.length, 300_000))
    await Promise.all(
      Array.from({ length: 40 }, async (_, number) => {
        const slot = await task.slot(number, never)
        for (let part = 1; slot.filled < slot.piece.length; part++) {
          const space = slot.space()
          if (space === undefined) await slot.drained()
          else {
            const bytes = space.subarray(0, 1000 * part + number)
            content.fill(bytes, slot.piece.offset + slot.filled)
            slot.fill(bytes.length)
          }
          await new Promise<void>((resolve) => setImmediate(resolve))
        }
        await task.commit(slot, { digest: await slot.finish(), parentId: `parent ${number}` })
      }),
    )
    assert.equal(task.complete, true)
    await verifyTask(store, task, content)
  })

  test(`${name}.slot() can be begun anew`, async (t) => {
    const store = await open(t)
    const [task, content] = await threePieces(store)
    const slot = await task.slot(1, never)
    for (const count of [1, slot.piece.length - 1]) {
      const space = slot.space()
      space?.subarray(0, count).fill(0xee)
      slot.fill(Math.min(count, space?.length ?? 0))
      await slot.rewind()
      assert.equal(slot.filled, 0)
      assert.throws(() => slot.fill(1), RangeError)
    }
    await fill(slot, content)
    await assert.rejects(slot.rewind(), RangeError)
    assert.equal(await slot.finish(), digestOf(content, slot.piece))
    await task.commit(slot, { digest: await slot.finish(), parentId: '' })
    slot.release()
    await assert.rejects(slot.rewind())
  })

  test(`${name}.slot() leaves nothing when it is released`, async (t) => {
    const store = await open(t)
    const [task, content] = await threePieces(store)
    const slot = await task.slot(1, never)
    slot.space()
    slot.fill(100)
    slot.space()
    slot.release()
    slot.release()
    assert.equal(slot.space(), undefined)
    assert.throws(() => slot.fill(1), RangeError)
    await assert.rejects(slot.drained(), code('CLOSED'))
    const filled = await task.slot(1, never)
    await fill(filled, new Content(content.length, 99))
    filled.release()
    assert.equal(task.has(1), false)
    assert.equal(task.keptCount, 0)
    await assert.rejects(store.open(request(task, 1), never), code('TASK_NOT_FOUND'))
    await assert.rejects(task.commit(slot, { digest: '', parentId: '' }), RangeError)
    await keepAll(task, content)
    await verifyTask(store, task, content)
  })

  test(`${name}.slot() gives a piece to one at a time, in order, and can be aborted`, async (t) => {
    const store = await open(t)
    const [task] = await threePieces(store)
    const order: string[] = []
    const first = await task.slot(0, never)
    const controller = new AbortController()
    const aborted = task.slot(0, controller.signal)
    const second = task.slot(0, never).then((slot) => {
      order.push('second')
      return slot
    })
    const third = task.slot(0, never).then((slot) => {
      order.push('third')
      return slot
    })
    const reason = new Error('enough')
    controller.abort(reason)
    await assert.rejects(aborted, (error) => error === reason)
    assert.deepEqual(order, [])
    first.release()
    const slot = await second
    assert.deepEqual(order, ['second'])
    slot.release()
    const last = await third
    last.release()
    await assert.rejects(task.slot(0, controller.signal), (error) => error === reason)
  })

  test(`${name}.slot() of a piece that is kept takes bytes and changes nothing`, async (t) => {
    const store = await open(t)
    const [task, content] = await threePieces(store)
    await keep(task, content, 0, 'first')
    const slot = await task.slot(0, never)
    const other = new Content(content.length, 5)
    await fill(slot, other)
    const digest = await slot.finish()
    assert.equal(digest, digestOf(other, slot.piece))
    await task.commit(slot, { digest, parentId: 'second' })
    assert.equal(task.digestOf(0), digestOf(content, slot.piece))
    assert.equal(content.difference(await readPiece(store, task, 0), 0), undefined)
    const reader = await store.open(request(task, 0), never)
    assert.equal(reader.parentId, 'first')
    reader.close()
  })

  test(`${name}.fill() and finish() refuse wrong counts`, async (t) => {
    const store = await open(t)
    const [task] = await threePieces(store)
    const slot = await task.slot(2, never)
    assert.throws(() => slot.fill(1), RangeError)
    const space = slot.space()
    assert.ok(space !== undefined && space.length > 0 && space.length <= 1000)
    for (const count of [-1, 0.5, space.length + 1, Number.NaN]) {
      assert.throws(() => slot.fill(count), RangeError)
    }
    slot.fill(1)
    assert.equal(slot.filled, 1)
    await assert.rejects(slot.finish(), RangeError)
    slot.release()
    for (const number of [-1, 3, 0.5]) await assert.rejects(task.slot(number, never), RangeError)
  })

  test(`${name}.commit() can be repeated, and refuses what is not its own`, async (t) => {
    const store = await open(t)
    const [task, content] = await threePieces(store)
    const [other] = await threePieces(store, 'other')
    const kept: (number | undefined)[] = []
    task.onKept((number) => kept.push(number))
    const slot = await task.slot(0, never)
    await fill(slot, content)
    const digest = await slot.finish()
    assert.equal(await slot.finish(), digest)
    await assert.rejects(other.commit(slot, { digest, parentId: '' }), TypeError)
    const commit = (): Promise<void> => task.commit(slot, { digest, parentId: 'p' })
    await Promise.all([commit(), commit()])
    await commit()
    assert.deepEqual(kept, [0])
    const wrong = await task.slot(1, never)
    await fill(wrong, content)
    await assert.rejects(task.commit(wrong, { digest: 'crc32:1', parentId: '' }), RangeError)
    assert.equal(task.has(1), false)
    await keepAll(task, content)
    await verifyTask(store, task, content)
  })

  test(`${name}.release() during commit() does not let another slot in`, async (t) => {
    const store = await open(t)
    const [task, content] = await threePieces(store)
    const slot = await task.slot(0, never)
    await fill(slot, content)
    const next = task.slot(0, never)
    const commit = task.commit(slot, { digest: await slot.finish(), parentId: '' })
    slot.release()
    await commit
    assert.equal(task.has(0), true)
    const blind = await next
    await fill(blind, new Content(content.length, 9))
    blind.release()
    assert.equal(content.difference(await readPiece(store, task, 0), 0), undefined)
  })
}
