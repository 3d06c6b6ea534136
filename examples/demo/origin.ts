/** The origin of the demo, in a process of its own: an ordinary HTTP server that counts what it sends. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { obey } from './obey.ts'
import { ServedFile } from './served-file.ts'
import { ServedUrl } from './served-url.ts'

/** Something that the origin serves. */
export type Served = ServedFile | ServedUrl

const entries: Served[] = []
let server: Server | undefined

obey(async (order) => {
  switch (order.is) {
    case 'serve': {
      for (const [at, input] of order.inputs.entries()) {
        entries.push(
          /^https?:/.test(input)
            ? await ServedUrl.open(input, `${order.folder}/passed-on-${at}`)
            : await ServedFile.open(input),
        )
      }
      server = await listen()
      const { port } = server.address() as AddressInfo
      return {
        is: 'serving',
        urls: entries.map((_, at) => `http://127.0.0.1:${port}/${at}`),
        bytesTotal: total(entries.map(({ length }) => length)),
      }
    }
    case 'count':
      return {
        is: 'counted',
        bytes: total(entries.map(({ sentBytes }) => sentBytes)) ?? 0,
        files: await Promise.all(entries.map((entry) => entry.facts())),
      }
    case 'close':
      server?.close()
      server?.closeAllConnections()
      await Promise.all(entries.map((entry) => entry.close()))
      return undefined
    default:
      throw new Error(`An origin cannot ${order.is}`)
  }
})

async function listen(): Promise<Server> {
  const made = createServer((request, response) => {
    const entry = entries[Number(request.url?.slice(1))]
    if (entry === undefined) {
      response.writeHead(404).end()
      return
    }
    // A reader that goes away, or an input that breaks off: the connection says so to the reader.
    entry.answer(request, response).catch(() => response.destroy())
  })
  made.listen(0, '127.0.0.1')
  await once(made, 'listening')
  return made
}

function total(numbers: readonly (number | undefined)[]): number | undefined {
  return numbers.reduce(
    (sum, number) => (sum === undefined || number === undefined ? undefined : sum + number),
    0,
  )
}
