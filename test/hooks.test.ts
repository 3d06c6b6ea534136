import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { publish } from '../src/hooks.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Lets callbacks of collections run. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const name = 'dragonfly-peer:transport:fallback'
const message = { parent: 'a', from: 'rdma', to: 'tcp', reason: 'b' }

test('A subscriber hears what is published, whatever was collected before and since', async () => {
  for (let round = 0; round < 10; round++) {
    publish(name, () => assert.fail('Nobody listens'))
    await turn()
    collectGarbage()
    const heard: unknown[] = []
    const listener = (told: unknown): void => void heard.push(told)
    subscribe(name, listener)
    await turn()
    collectGarbage()
    await turn()
    publish(name, () => message)
    unsubscribe(name, listener)
    assert.deepEqual(heard, [message])
  }
})
