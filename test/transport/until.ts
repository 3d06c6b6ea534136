import assert from 'node:assert/strict'

/** Waits for a fact, turn by turn of the event loop; fails when it does not come true in time. */
export async function until(what: string, fact: () => boolean, timeoutMs = 15_000): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!fact()) {
    assert.ok(performance.now() < end, `Not in time: ${what}`)
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
}

/** Lets everything that is due happen: some turns of the event loop. For showing that something does not happen. */
export async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn++) {
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
}
