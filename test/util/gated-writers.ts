/**
 * A process whose file hangs until its standard input ends (`native/test/gate`). Several transfers into that file are begun; when all their bytes have been received, all are
 * cancelled. It prints a line for each that is told.
 */
import { openSync, readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { loadFlow } from '../../src/util/flow.ts'
import { connected, fdOf } from '../support/socket-pair.ts'

const [path = '', count = ''] = process.argv.slice(2)
/** One chunk of the addon: when it has come, it is to be written. */
const chunk = Buffer.alloc(256 * 1024, 7)
const flow = loadFlow()
if (flow === undefined) throw new Error('There is no addon')
const fd = openSync(path, 'w')
const pairs: { readonly left: Socket; readonly right: Socket }[] = []
for (let number = 0; number < Number(count); number++) pairs.push(await connected())
const ids = pairs.map(({ left, right }, number) => {
  left.write(chunk)
  const done = (moved: number, socketError: number): void => {
    process.stdout.write(`${number} ${moved} ${socketError}\n`)
    left.destroy()
    right.destroy()
  }
  // Longer than what comes: nothing ends by itself.
  const at = number * 2 * chunk.length
  return flow.receive(fdOf(right), fd, at, 2 * chunk.length, done, flow.sums(true))
})
while (pairs.some(({ right }) => unread(right) > 0)) await setImmediate()
for (const id of ids) flow.cancel(id)

/** Bytes that the kernel has for the socket, or that are on their way to it. */
function unread({ localPort = 0, remotePort = 0 }: Socket): number {
  const port = (number: number): string => number.toString(16).toUpperCase().padStart(4, '0')
  const lines = readFileSync('/proc/net/tcp', 'latin1').split('\n')
  const of = (from: number, to: number): readonly number[] => {
    const line = lines.find((each) => {
      const [, here = '', there = ''] = each.trim().split(/\s+/)
      return here.endsWith(`:${port(from)}`) && there.endsWith(`:${port(to)}`)
    })
    const [sent = '', received = ''] = line?.trim().split(/\s+/)[4]?.split(':') ?? []
    return [Number.parseInt(sent, 16), Number.parseInt(received, 16)]
  }
  const [, received = 0] = of(localPort, remotePort)
  const [sending = 0] = of(remotePort, localPort)
  return received + sending
}
